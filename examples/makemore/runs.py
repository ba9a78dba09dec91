"""`train --model` as a command: how the training of a module begins or goes on, is stored, and ends."""

import argparse
import secrets

import torch

from examples.makemore import checkpoint, fitted, stop
from examples.makemore.errors import Stopped, UserError
from examples.makemore.fit import RATES, Settings, Training, begin, fit, split_loss
from examples.makemore.modules import LONGEST
from examples.makemore.processes import Processes, together
from examples.makemore.train import finite, plot_losses


def train_module(args: argparse.Namespace) -> bool:
    """Trains a module, writes its checkpoint and its loss curve, and prints its losses.

    It is stored every now and then, and when a signal stops the training. Of several processes one writes and prints.
    """
    with stop.noted() as signals, together(args.device) as processes:
        training = begin(settings(args, processes), len(args.data.chars) + 1, processes.device)
        path, run = args.out / checkpoint.FILE_NAME, secrets.token_hex(8)
        stored = checkpoint.find(path) if args.resume else None
        if stored is not None:
            run = fitted.resume(training, stored, path)

        def save() -> None:
            finite([*training.net.parameters()], "a smaller --lr")
            if processes.rank == 0:
                fitted.save(training, args.data.chars, path, run)

        number = fit(training, args.data, processes, save, args.save_every or 1000, args.workers or 0, signals)
        save()
    if number:
        raise Stopped(number, len(training.losses), path)
    if processes.rank == 0:
        report(args, training, processes.device)
        args.written.append(path)
    return True


def settings(args: argparse.Namespace, processes: Processes) -> Settings:
    """What the command line says, with what it leaves out."""
    if args.batch % processes.count:
        raise UserError(f"argument --batch: {args.batch} names cannot be shared by {processes.count} processes")
    optimizer = args.optimizer or "adamw"
    return Settings(
        args.model, args.hidden or 64, args.batch, args.steps or 20_000, args.seed, args.engine, args.dtype, optimizer,
        args.lr or RATES[optimizer], processes.count, args.data.digest,
    )  # fmt: skip


def report(args: argparse.Namespace, training: Training, device: torch.device) -> None:
    """Prints the loss of each split, and plots that of each step."""
    training.net.eval()
    for name in ("train", "val", "test"):
        names = getattr(args.data, name)
        print(f"{name:5s} loss {split_loss(training.net, names, args.data.chars, device):.4f}")
    plot_losses(training.losses, args.out / "loss.png")
    args.written.append(args.out / "loss.png")


def check(args: argparse.Namespace) -> None:
    """Checks what a module asks of the command line.

    Raises:
        UserError: an option, or the list of names, is not for modules.
    """
    if args.engine == "manual":
        raise UserError(f"argument --engine: nobody has derived {args.model} by hand: give tapegrad or torch")
    longest = max(map(len, args.data.train + args.data.val + args.data.test))
    if longest > LONGEST:
        raise UserError(
            f"argument --names: one name has {longest:,} characters, and --model {args.model} takes {LONGEST}"
        )
