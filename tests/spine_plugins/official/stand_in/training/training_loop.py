"""A loop of the observed kind: parts by dotted name, DDP, statistics, ADA's p, a snapshot at the end."""

import json
import os

import torch
from dnnlib.util import make
from torch_utils import training_stats

import stylegan2ada as sg


def training_loop(rank, run_dir, training_set_kwargs, G_kwargs, D_kwargs, G_opt_kwargs, D_opt_kwargs, loss_kwargs,
                  num_gpus, batch_size, total_kimg, random_seed, ada_target=None):  # fmt: skip
    torch.manual_seed(random_seed * num_gpus + rank)
    data = make(**training_set_kwargs)
    shape = {"c_dim": data.label_dim, "img_resolution": data.resolution, "img_channels": data.num_channels}
    torch.manual_seed(random_seed)  # the same weights everywhere
    G, D = make(**G_kwargs, **shape).train().requires_grad_(False), make(**D_kwargs, **shape).train()
    D.requires_grad_(False)
    parts = {"G_mapping": G.mapping, "G_synthesis": G.synthesis, "D": D}
    exchanges = dict.fromkeys(parts, 0)
    if num_gpus > 1:
        for name, part in parts.items():
            part.requires_grad_(True)
            parts[name] = torch.nn.parallel.DistributedDataParallel(part, broadcast_buffers=False)
            part.requires_grad_(False)

            def counted(name, bucket):
                exchanges[name] += bucket.is_last()
                done = torch.distributed.all_reduce(
                    bucket.buffer().div_(num_gpus), async_op=True
                ).get_future()
                return done.then(lambda future: future.value()[0])

            parts[name].register_comm_hook(name, counted)
    loss = make(device="cpu", augment_pipe=None, **parts, **loss_kwargs)
    optimizers = {"G": make(params=list(G.parameters()), **G_opt_kwargs),
                  "D": make(params=list(D.parameters()), **D_opt_kwargs)}  # fmt: skip
    torch.manual_seed(random_seed * num_gpus + rank + 1)
    per_rank, p, rows, gradients = batch_size // num_gpus, 0.0, [], {}
    for step in range(total_kimg * 2):  # two iterations stand for 1 kimg
        picked = [(step * batch_size + rank * per_rank + i) % len(data) for i in range(per_rank)]
        real = torch.stack([torch.tensor(data[i][0]) for i in picked]).float() / 127.5 - 1
        label = torch.stack([torch.tensor(data[i][1]) for i in picked])
        for phase, every in (("Gmain", 1), ("Greg", 4), ("Dmain", 1), ("Dreg", 16)):
            if step % every:
                continue
            network, optimizer = (G, D)[phase[0] == "D"], optimizers[phase[0]]
            optimizer.zero_grad(set_to_none=True)
            network.requires_grad_(True)
            halves = [slice(0, per_rank // 2), slice(per_rank // 2, None)]
            for round_, half in enumerate(halves):
                z = torch.randn(len(real[half]), G.z_dim)
                loss.accumulate_gradients(phase=phase, real_img=real[half], real_c=label[half], gen_z=z,
                                          gen_c=label[half], sync=round_ == 1, gain=every)  # fmt: skip
            network.requires_grad_(False)
            gradients[f"{step}/{phase}"] = {
                n: q.grad.clone() for n, q in network.named_parameters() if q.grad is not None
            }
            optimizer.step()
        signs = training_stats.take("Loss/signs/real")
        if ada_target is not None:
            p = max(p + (1 if signs > ada_target else -1) * 0.01, 0.0) if signs == signs else signs
        means = {name: training_stats.take(name) for name in list(training_stats.counts)}
        rows.append({"Progress/kimg": step / 2, "Progress/augment": p, "Loss/signs/real": signs, **means})
    torch.save({"gradients": gradients, "exchanges": exchanges}, os.path.join(run_dir, f"seen-{rank}.pt"))
    if rank == 0:
        with open(os.path.join(run_dir, "stats.jsonl"), "w") as file:
            file.writelines(
                json.dumps({k: {"num": 1, "mean": v, "std": 0} for k, v in row.items()}) + "\n"
                for row in rows
            )
        G.eval(), D.eval()
        kept = {
            "training_set_kwargs": dict(training_set_kwargs),
            "G": G,
            "D": D,
            "G_ema": G,
            "augment_pipe": None,
        }
        sg.save_network(kept, os.path.join(run_dir, f"network-snapshot-{total_kimg:06d}.pkl"))
