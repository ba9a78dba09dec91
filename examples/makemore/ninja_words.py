"""What `ninja.ipynb` says between its cells."""

WORDS = {
    "exercise": """
# Backpropagation by hand

The exercises of Andrej Karpathy's lecture [becoming a backprop ninja](https://www.youtube.com/watch?v=q8SA3rM6ckI),
with a teacher at your side. A small network learns to invent names, and you work out its gradients: first line by
line, then in two leaps, and in the end you train it with them.

Wherever a cell has `...`, the line is yours. The cell below compares it with the right gradient, to the last bit, and
if it is wrong tries what people usually do wrong, and tells you. If you are stuck, `dh = tape.grad("h")` takes the
right numbers, so that you can go on. Run the cells from the top; you need `pip install 'tapegrad[viz]'`.
""",
    "solution": """
# Backpropagation by hand: the solution

Every blank of `ninja.ipynb` is filled in. Run from the top, it finds 26 gradients exact, derives the two closed forms
on paper, and trains the network on nothing but hand-written gradients.
""",
    "names": """
## The names

If `names.txt` lies beside this notebook, the network learns from that; else from the few hundred names in the next
cell. From three letters it is to guess the fourth.
""",
    "network": """
## The network

A table of numbers for the letters, a layer of neurons with batch norm, and a layer that says how likely each letter
is. Biases and gains begin near 0 and 1, but not at them, for such numbers hide mistakes.
""",
    "forward": """
## The forward pass

In steps so small that each can be undone by itself. `n` is the number of examples in the batch.
""",
    "tape": """
tapegrad has written down what ran. `backward()` finds the gradient of every line of it, and the tape keeps them: they
are what you are checked against. After that nothing more is recorded, and what you compute is numbers.
""",
    "exercise 1": """
## Exercise 1: line by line

The name of a gradient has a `d` in front: `dprobs` is that of `probs`. A gradient always has the shape of its tensor,
and that is half the answer: where the forward pass copied, gradients are summed; where it summed, they are copied;
where a tensor was used twice, two gradients add up.
""",
    "all": """
### All 26

`exact` means equal in every bit. `approximate` will do: it is the same formula in another order.
""",
    "picture": """
## What you went through

First the graph, as the tape has it; a green dot marks what was used more than once, and `×32` what was copied. Then
the same pass to step through, record by record, with the numbers that each rule took and gave.
""",
    "exercise 2": """
## Exercise 2: cross entropy in one leap

From `loss` to `logits` you took eight steps. On paper most of it cancels. Write the loss as a function of one row of
logits, take its derivative, simplify, and write that down: it is one short line, or three.
""",
    "derive 2": """
On paper, with the reason for each step. Every line was tried on numbers before it was shown.
""",
    "exercise 3": """
## Exercise 3: batch norm in one leap

From `dhpreact` to `dhprebn`, past mean and variance. Every row of a column moves the column's mean and its variance,
so each row's gradient has a part that all rows share. (`dhpreact` is there from exercise 1.)
""",
    "derive 3": """
The same on paper:
""",
    "exercise 4": """
## Exercise 4: train on your own gradients

The forward pass once more, in as few lines as there are ideas.
""",
    "gradients": """
Fill in what becomes of the parameters. You have done all of it above; take the leaps.
""",
    "train": """
Now there is no tape and no engine, only torch's tensors and your formulas. It takes some seconds.
""",
    "sample": """
## New names
""",
}
