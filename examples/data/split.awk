# Splits rows "label<TAB>text" into a training and a test file, the same way every time and with every awk:
#
#     awk -v n_train=1040 -v n_test=2000 -v seed=1 -v train=FILE -v test=FILE -f split.awk ROWS
#
# Training rows: one of every class, the rest drawn at random from all, so that classes are as frequent as they are.
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

function train_on(k)
{
    if (k in used || wanted == 0) return
    print row[k] > train
    used[k] = 1
    trained[text[k]] = 1
    wanted--
}

function choose_train(    i, k)
{
    wanted = n_train
    for (i = 1; i <= NR; i++) {
        k = order[i]
        if (!seen[label[k]]++) train_on(k)
    }
    for (i = 1; i <= NR; i++) train_on(order[i])
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
