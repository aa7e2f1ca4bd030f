"""A stand-in for the official train command: the observed contract, in our own words."""

import json
import os
import tempfile

import click
import torch
from dnnlib.util import Options, make
from training.training_loop import training_loop


def setup_training_loop_kwargs(gpus=None, data=None, cond=None, kimg=None, batch=None, cfg=None, aug=None,
                               gamma=None, seed=None, **rest):  # fmt: skip
    """Flags -> (description, arguments of the loop)."""
    dataset = make("training.dataset.ImageFolderDataset", path=data, use_labels=bool(cond))
    if cfg == "refuse":
        raise click.UsageError("--cfg=refuse is not to its taste")
    adam = {"class_name": "torch.optim.Adam", "lr": 0.002, "betas": [0.0, 0.99], "eps": 1e-8}
    small = {"channel_base": 64, "channel_max": 4, "num_fp16_res": 0}
    args = Options(
        num_gpus=gpus or 1, batch_size=batch or 4, total_kimg=kimg or 1, random_seed=seed or 0,
        training_set_kwargs=Options(class_name="training.dataset.ImageFolderDataset", path=data,
                                    use_labels=bool(cond), max_size=len(dataset), resolution=dataset.resolution),
        G_kwargs=Options(class_name="training.networks.Generator", z_dim=8, w_dim=8, synthesis_kwargs=Options(small)),
        D_kwargs=Options(class_name="training.networks.Discriminator", epilogue_kwargs=Options(), **small),
        G_opt_kwargs=Options(adam), D_opt_kwargs=Options(adam),
        loss_kwargs=Options(class_name="training.loss.StyleGAN2Loss", r1_gamma=1 if gamma is None else gamma),
    )  # fmt: skip
    if cfg == "cifar":
        args.loss_kwargs.update(pl_weight=0, style_mixing_prob=0)
    if aug != "noaug":
        args.ada_target = 0.6
    return f"{os.path.splitext(os.path.basename(data))[0]}-stand-in", args


def subprocess_fn(rank, args, temp_dir):
    """One process of the training."""
    if args.num_gpus > 1:
        where = "file://" + os.path.join(temp_dir, "meeting")
        torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=args.num_gpus)
    training_loop(rank=rank, **args)


@click.command()
@click.option("--outdir", required=True)
@click.option("--gpus", type=int)
@click.option("--data", required=True)
@click.option("--cond", type=bool)
@click.option("--kimg", type=int)
@click.option("--batch", type=int)
@click.option("--gamma", type=float)
@click.option("--seed", type=int)
@click.option("--snap", type=int)
@click.option("--cfg")
@click.option("--aug")
@click.option("--metrics")
@click.option("-n", "--dry-run", is_flag=True)
def main(outdir, dry_run, **flags):
    """Resolve, make the folder, train."""
    desc, args = setup_training_loop_kwargs(**flags)
    if dry_run:
        print("Dry run; exiting.")
        return
    args.run_dir = os.path.join(
        outdir, f"{len(os.listdir(outdir)) if os.path.isdir(outdir) else 0:05d}-{desc}"
    )
    os.makedirs(args.run_dir)
    with open(os.path.join(args.run_dir, "training_options.json"), "w") as file:
        json.dump(args, file, indent=2)
    with tempfile.TemporaryDirectory() as temp_dir:
        if args.num_gpus == 1:
            subprocess_fn(0, args, temp_dir)
        else:
            torch.multiprocessing.spawn(subprocess_fn, (args, temp_dir), nprocs=args.num_gpus)


if __name__ == "__main__":
    main()
