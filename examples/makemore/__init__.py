"""The makemore lecture on backpropagation, end to end on tapegrad: compare, draw, train, sample.

Run it from the root of the repository with `python -m examples.makemore`. In reading order:

- `names`    a list of names becomes a data set
- `model`    the parameters and the forward passes, as the lecture writes them
- `manual`   the gradients by hand (exercise 4)
- `train`    the same training on any of three engines
- `trained`, `sample`   the trained model: stored, loaded, asked for new names
- `checkpoint`, `files`, `stop`   how nothing that was trained gets lost
- `compare`  every gradient of the pass against torch.autograd (exercises 1 to 3)
- `draw`     the pass as a picture
- `source`   the backward pass as code, which the engine writes
- `derive`   exercises 2 and 3 on paper, which the engine does as well
- `cli`      the command line
"""
