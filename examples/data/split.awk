# Splits rows "label<TAB>text" into a training and a test file, the same way every time and with every awk:
#
#     awk -v n_train=1040 -v n_test=2000 -v seed=1 -v train=FILE -v test=FILE -f split.awk ROWS
#
# Training rows: as many of every class, the whole of a class that has fewer (rows of larger classes fill up).
# Test rows: drawn at random from all the others; a text that stands in the training file too is left out.

# Lehmer generator, x' = 48271 x mod 2^31-1 (Park and Miller): every product is exact in a double. Result in [0, n).
function random(n)
{
    state = state * 48271 % 2147483647
    return int(state / 2147483647 * n)
}

function shuffle(    i, j, swap)
{
    for (i = NR; i > 1; i--) {
        j = 1 + random(i)
        swap = order[i]; order[i] = order[j]; order[j] = swap
    }
}

# Training rows are those whose rank, their place among the rows of their class, is small enough.
function choose_train(    i, k, rank, size, wanted, limit)
{
    for (i = 1; i <= NR; i++) {
        rank[i] = ++seen[label[order[i]]]
        size[rank[i]]++
    }
    wanted = n_train
    for (limit = 1; size[limit] < wanted; limit++) wanted -= size[limit]
    for (i = 1; i <= NR; i++) {
        k = order[i]
        if (rank[i] < limit || (rank[i] == limit && wanted-- > 0)) {
            print row[k] > train
            used[k] = 1
            trained[text[k]] = 1
        }
    }
}

function choose_test(    i, k, n)
{
    for (i = 1; i <= NR && n < n_test; i++) {
        k = order[i]
        if (k in used || text[k] in trained) continue
        print row[k] > test
        n++
    }
    return n + 0
}

function fail(message)
{
    print "split: " message > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN { FS = "\t" }

{
    row[NR] = $0
    label[NR] = $1
    text[NR] = $2
    order[NR] = NR
}

END {
    if (failed) exit 1
    if (n_train < 1 || n_train > NR) fail("cannot take " n_train " training rows from " NR)
    state = 1013904223 + seed % 1000000007      # large, so that neighbouring seeds have nothing in common
    printf "" > train
    printf "" > test
    shuffle()
    choose_train()
    shuffle()
    found = choose_test()
    if (found < n_test) fail("only " found " rows are left for the test, " n_test " were asked for")
}
