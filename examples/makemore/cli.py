"""The command line: `compare`, `draw`, `train` and `sample`, or all four in order; `page`, `derive` and `source`."""

import argparse
import io
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from examples.makemore import checkpoint, fitted, processes, runs, stop, trained
from examples.makemore.errors import Stopped, UserError
from examples.makemore.fit import RATES
from examples.makemore.modules import MODULES
from examples.makemore.names import DEFAULT_LIST, load_data, load_split
from examples.makemore.resume import LECTURE, model_of
from examples.makemore.sample import Predictor, sample
from examples.makemore.train import (
    ENGINES,
    Config,
    Progress,
    begin,
    calibrate,
    finite,
    plot_losses,
    resume,
    split_loss,
    train,
)

PROGRAM = "python -m examples.makemore"


def whole(smallest: int, largest: int) -> Callable[[str], int]:
    """Makes the type of an option that takes a whole number in a range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not smallest <= int(text) <= largest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {smallest} to {largest}")
        return int(text)

    return parse


def rate(text: str) -> float:
    """The type of an option that takes a learning rate."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


TRAINING = "names hidden batch steps save-every seed engine device dtype out"
NUMBERS = ("float32", "float64")
OPTIONS: dict[str, dict[str, Any]] = {
    "names": {"type": Path, "default": DEFAULT_LIST, "metavar": "PATH", "help": "names, one a line (the list here)"},
    "hidden": {"type": whole(1, 2**16), "help": "hidden neurons (200 to train the lecture's network, else 64)"},
    "batch": {"type": whole(2, 2**16), "default": 32, "help": "examples in a minibatch (%(default)s)"},
    "steps": {"type": whole(1, 2**31), "help": "steps of training (200000; of a module 20000; in all 100000)"},
    "save-every": {"type": whole(1, 2**31), "help": "store it after so many steps (10000; a module 1000)"},
    "seed": {"type": whole(0, 2**63), "default": 2147483647, "help": "where random draws start (%(default)s)"},
    "model": {
        "choices": (LECTURE, *MODULES),
        "help": "the lecture's network, or a module: see modules.py (lecture; mlp in several processes)",
    },
    "optimizer": {"choices": tuple(RATES), "help": "of a module (adamw)"},
    "lr": {"type": rate, "help": "its learning rate (0.003 for adamw, 0.3 for sgd)"},
    "workers": {"type": whole(0, 256), "help": "processes that make a module's minibatches (0: the one that trains)"},
    "resume": {"action": "store_true", "help": "go on with the training in --out, if there is one, to the same bits"},
    "engine": {"choices": ENGINES, "default": "tapegrad", "help": "what computes the gradients (%(default)s)"},
    "device": {"default": "cpu", "help": "a torch device such as cpu or cuda (%(default)s)"},
    "dtype": {"choices": NUMBERS, "default": "float32", "help": "the number type (%(default)s)"},
    "style": {"choices": ("plain", "exact"), "default": "plain", "help": "formulas, or torch's bits (%(default)s)"},
    "out": {"type": Path, "default": Path("runs/makemore"), "metavar": "DIR", "help": "folder for files (%(default)s)"},
}


def run_compare(args: argparse.Namespace) -> bool:
    """Prints the tables."""
    from examples.makemore.compare import compare_pass

    return compare_pass(args.data, args.hidden or 64, args.batch, args.seed, args.dtype)


def run_draw(args: argparse.Namespace) -> bool:
    """Writes the pictures of the compute graph."""
    from examples.makemore.compare import lecture_pass
    from examples.makemore.draw import draw_pass

    v = lecture_pass(args.data, args.hidden or 64, args.batch, args.seed, args.dtype)
    args.written += draw_pass(v, args.out)
    return True


def run_page(args: argparse.Namespace) -> bool:
    """Writes the page that steps through the backward pass."""
    from examples.makemore.compare import lecture_pass
    from examples.makemore.draw import page_pass

    v = lecture_pass(args.data, args.hidden or 64, args.batch, args.seed, args.dtype)
    args.written.append(page_pass(v, args.out))
    return True


def run_source(args: argparse.Namespace) -> bool:
    """Writes the backward pass as source, runs it, and prints its table."""
    from examples.makemore.compare import lecture_pass
    from examples.makemore.source import write_pass

    v = lecture_pass(args.data, args.hidden or 64, args.batch, args.seed, args.dtype)
    path, good = write_pass(v, args.style, args.out)
    args.written.append(path)
    return good


def run_derive(args: argparse.Namespace) -> bool:
    """Prints the closed forms of exercises 2 and 3 with their derivations, runs them, and prints their table."""
    from examples.makemore.compare import lecture_pass
    from examples.makemore.derive import derive_pass

    v = lecture_pass(args.data, args.hidden or 64, args.batch, args.seed, args.dtype)
    path, good = derive_pass(v, args.out)
    args.written.append(path)
    return good


def run_train(args: argparse.Namespace) -> bool:
    """Trains, writes the checkpoint, prints the losses, and writes the loss curve.

    The network is stored every now and then, and when a signal stops the training.
    """
    if args.model != LECTURE:
        return runs.train_module(args)
    config = Config(args.hidden or 200, args.batch, args.steps or 200_000, args.seed, args.engine, args.dtype)
    path, run, progress = args.out / checkpoint.FILE_NAME, secrets.token_hex(8), begin(args.data, config)
    stored = checkpoint.find(path) if args.resume else None
    if stored is not None:
        progress, run = resume(args.data, config, stored, path)

    def save(progress: Progress) -> trained.Model:
        model, step = calibrate(args.data, finite(progress.parameters), config), len(progress.losses)
        trained.save(model, path, run, step, finished=step == config.steps, progress=progress.state())
        return model

    with stop.noted() as signals:
        _, losses = train(args.data, config, save, args.save_every or 10_000, signals, progress)
        model = save(progress)
    if signals:
        raise Stopped(signals[0], len(losses), path)
    for split in ("train", "val", "test"):
        print(f"{split:5s} loss {split_loss(model, getattr(args.data, split)):.4f}")
    plot_losses(losses, args.out / "loss.png")
    args.written += [args.out / "loss.png", path]
    return True


def run_sample(args: argparse.Namespace) -> bool:
    """Prints twenty new names."""
    path = args.out / checkpoint.FILE_NAME
    stored = checkpoint.load(path, args.device)
    lecture = model_of(stored) == LECTURE
    model: Predictor = trained.model_of(stored, path) if lecture else fitted.load(stored, path, args.device)
    print(*sample(model, args.seed + 10), sep="\n")
    return True


def run_all(args: argparse.Namespace) -> bool:
    """Runs the four commands in order, with a shorter training."""
    args.steps, args.model, args.resume = args.steps or 100_000, LECTURE, False
    good = True
    for name in ("compare", "draw", "train", "sample"):
        print(f"\n=== {name} ===", flush=True)
        good &= COMMANDS[name][0](args)
    return good


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], bool], str, str]] = {
    "compare": (run_compare, "names hidden batch seed device dtype", "check every gradient against torch.autograd"),
    "draw": (run_draw, "names hidden batch seed device dtype out", "draw the compute graph as SVG and PNG"),
    "page": (run_page, "names hidden batch seed device dtype out", "write a page that steps through the backward pass"),
    "train": (
        run_train,
        f"model {TRAINING} optimizer lr workers resume",
        "train the lecture's network or another, plot its loss, store it",
    ),
    "sample": (run_sample, "seed device out", "print 20 names from the stored network"),
    "derive": (run_derive, "names hidden batch seed device dtype out", "derive the closed forms of exercises 2 and 3"),
    "source": (run_source, "names hidden batch seed device dtype style out", "write the backward pass as PyTorch code"),
    "all": (run_all, TRAINING, "all four in order; also what runs when no command is given"),
}


BFLOAT16 = {**OPTIONS["dtype"], "choices": (*NUMBERS, "bfloat16")}  # for `train`, by autocast


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser() -> Parser:
    """Builds the parser: every command takes the options that mean something to it."""
    main_parser = Parser(prog=PROGRAM, description=__doc__, epilog=f"The options of a command: {PROGRAM} COMMAND -h")
    commands = main_parser.add_subparsers(dest="command", metavar="COMMAND")
    for command, (_, options, help_text) in COMMANDS.items():
        one = commands.add_parser(command, help=help_text, description=help_text)
        for name in options.split():
            one.add_argument(f"--{name}", **(BFLOAT16 if (command, name) == ("train", "dtype") else OPTIONS[name]))
    return main_parser


def check_model(args: argparse.Namespace) -> None:
    """Fills in the model, and checks what is given to the lecture's that is none of its own."""
    several = processes.launched()
    args.model = args.model or ("mlp" if several else LECTURE)
    if args.model != LECTURE:
        return
    if several:
        raise UserError("argument --model: the lecture's network trains in one process: give another")
    for name in ("optimizer", "lr", "workers"):
        if getattr(args, name) is not None:
            raise UserError(f"argument --{name}: the lecture has its own training: give a --model as well")
    if args.dtype is torch.bfloat16:
        raise UserError("argument --dtype: the lecture's network is float32 or float64: give another --model as well")


def prepare(args: argparse.Namespace) -> None:
    """Checks device, folder and names, in place of their mere names, before anything else runs."""
    args.written = []
    if "dtype" in args:
        args.dtype = getattr(torch, args.dtype)
    if "model" in args:
        check_model(args)
    args.device = processes.own_device(args.device)
    try:
        torch.ones(1, dtype=getattr(args, "dtype", None), device=args.device).item()
    except Exception as error:  # every backend has a way of its own to say that it is not there
        raise UserError(f"argument --device: torch cannot use {args.device!r} here") from error
    args.device = torch.device(args.device)
    if args.command in ("draw", "page", "train", "derive", "source", "all"):
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=args.out).close()
        except OSError as error:
            raise UserError(f"argument --out: cannot write to {args.out}: {error.strerror}") from error
    if getattr(args, "model", LECTURE) != LECTURE:
        args.data = load_split(args.names)
        runs.check(args)
    elif "names" in args:
        args.data = load_data(args.names, args.device)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Returns:
        0; 1 if a gradient is not as promised; 2 for a mistake in the command line; 128 and the number of the signal
        that stopped it, which is 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "all")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have letters that the terminal lacks
    args = parser().parse_args(words)
    code = 2
    try:
        prepare(args)
        good = COMMANDS[args.command][0](args)
        if args.written:
            print("\nWritten:", *args.written, sep="\n  ")
        return 0 if good else 1
    except Stopped as error:
        print(f"{PROGRAM} {args.command}: {error}", file=sys.stderr)
        return 128 + error.signal
    except UserError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        message = f"{error.msg}: pip install -e '.[examples]' brings everything that the example needs"
    except OSError as error:
        message = str(error)
    except KeyboardInterrupt:
        message, code = "interrupted", 128 + signal.SIGINT
    print(f"{PROGRAM} {args.command}: error: {message}", file=sys.stderr)
    return code
