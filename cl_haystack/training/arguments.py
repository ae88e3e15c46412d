"""Our options in the words of transformers' trainer."""

import math
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from cl_haystack.errors import ConfigurationError
from cl_haystack.training.config import TrainingConfig
from cl_haystack.training.device import Precision, plain_device_name

BEST_METRIC = "ndcg@10"
"""What the best weights are best at."""
_OPTIMIZER = "the optimizer is AdamW: set learning_rate, weight_decay or layer_decay"
_STATE = "states are kept for resuming and for the best weights: set save_interval_s or evaluations"
_INSTEAD = {
    "learning_rate": "set learning_rate",
    "weight_decay": "set weight_decay",
    **dict.fromkeys(("optim", "optim_args", "adafactor"), _OPTIMIZER),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon"), _OPTIMIZER),
    **dict.fromkeys(("num_train_epochs", "max_steps"), "set num_epochs"),
    **dict.fromkeys(("per_device_train_batch_size", "auto_find_batch_size"), "set batch_size"),
    "gradient_accumulation_steps": "set gradient_accumulation_steps",
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing"), "set gradient_checkpointing"),
    "max_grad_norm": "set max_gradient_norm",
    **dict.fromkeys(("warmup_steps", "warmup_ratio"), "set warmup_ratio"),
    **dict.fromkeys(("bf16", "fp16"), "set precision"),
    **dict.fromkeys(("use_cpu", "no_cuda"), "set the device"),
    "torch_compile": "set compile",
    "dataloader_num_workers": "set num_workers",
    **dict.fromkeys(("seed", "data_seed"), "set seed"),
    **dict.fromkeys(("output_dir", "save_strategy", "save_steps", "save_total_limit"), _STATE),
    **dict.fromkeys(("eval_strategy", "eval_steps", "load_best_model_at_end"), _STATE),
    **dict.fromkeys(("metric_for_best_model", "greater_is_better"), _STATE),
    **dict.fromkeys(("remove_unused_columns", "resume_from_checkpoint"), "the loop sets it"),
}
"""Arguments that would have no effect or break the bookkeeping of a run, and what to do instead."""
_CHECKPOINTING = next(  # the former since transformers 5.23, which warns of the latter
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)
_MAX_LOGGED = 1_000  # steps of a run whose loss is told and kept


def training_arguments(
    config: TrainingConfig,
    folder: Path,
    *,
    num_batches: int,
    device: str,
    precision: Precision,
    evaluates: bool,
) -> TrainingArguments:
    """Translate a configuration.

    :param config: options of the loop.
    :param folder: where states are saved.
    :param num_batches: batches of the whole run.
    :param device: ``cpu``, ``cuda`` or ``mps``.
    :param precision: as resolved for the device.
    :param evaluates: whether the model is measured during training.
    :returns: arguments of transformers' trainer.
    :raises ConfigurationError: transformers refuses one of them, or a field stands for it.
    """
    for name in config.arguments:
        if name in _INSTEAD:
            raise ConfigurationError(f"arguments hold {name!r}, which does not work there; {_INSTEAD[name]}")
    steps = math.ceil(num_batches / config.gradient_accumulation_steps)
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 1,  # the schedule holds all epochs
        "lr_scheduler_type": config.schedule,
        "warmup_steps": math.ceil(config.warmup_ratio * steps),
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_gradient_norm,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        **({_CHECKPOINTING: True} if config.gradient_checkpointing else {}),
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": device == "cpu",
        "dataloader_num_workers": config.num_workers,
        "logging_steps": max(1, steps // _MAX_LOGGED),
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "save_strategy": "no",
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": True,  # BERT's pooler and losses of other data sets get no gradient
        "seed": config.seed,
    }
    if "logging_dir" in TrainingArguments.__dataclass_fields__:  # until transformers 5, which lacks both
        from transformers.training_args import default_logdir

        options["logging_dir"] = default_logdir()  # not in the folder of states, which goes when all is done
    if evaluates:
        # Of the evaluations only the last is asked for here; EvaluateEvenly asks for all.
        options |= {"eval_strategy": "steps", "eval_steps": steps, "save_strategy": "steps"}
        options |= {"save_steps": steps, "load_best_model_at_end": True}
        options |= {"metric_for_best_model": BEST_METRIC, "greater_is_better": True}
    try:
        with plain_device_name(device):
            arguments = TrainingArguments(**{**options, **config.arguments})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"transformers.TrainingArguments refuses the options: {error}") from None
    arguments._n_gpu = min(1, arguments.n_gpu)  # several devices: torchrun, never DataParallel
    return arguments
