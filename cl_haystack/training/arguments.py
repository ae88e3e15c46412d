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
    :raises ConfigurationError: transformers refuses one of them.
    """
    steps = math.ceil(num_batches / config.gradient_accumulation_steps)
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 1,  # the schedule holds all epochs
        "lr_scheduler_type": config.schedule,
        "warmup_steps": math.ceil(config.warmup_ratio * steps),
        "learning_rate": config.learning_rate,
        "max_grad_norm": config.max_gradient_norm,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        **({"gradient_checkpointing": True} if config.gradient_checkpointing else {}),
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
