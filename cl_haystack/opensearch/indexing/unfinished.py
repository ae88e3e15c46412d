"""What a job had done when an error ended it: the error carries the report, whatever error it is.

A Ctrl-C or a broken file ends a job as well as an error of ours, so this is no matter of one class of errors.
"""

from types import TracebackType
from typing import Self, cast

from cl_haystack.opensearch.indexing.report import IndexingReport

_ATTRIBUTE = "cl_haystack_report"


def carry_report(error: BaseException, report: IndexingReport) -> None:
    """Let an error that ends a job carry its report.

    :param error: the error.
    :param report: what was confirmed until then; other documents may be on their way.
    """
    setattr(error, _ATTRIBUTE, report)


def report_of(error: BaseException) -> IndexingReport | None:
    """Return what a job had done when an error ended it.

    :param error: what ``index_documents`` raised, or was raised from that.
    :returns: the report; None where the job had not begun.
    """
    report = cast(IndexingReport | None, getattr(error, _ATTRIBUTE, None))
    if report is None and error.__cause__ is not None:
        return report_of(error.__cause__)
    return report


class ReportOnError:
    """Lets whatever error leaves its ``with`` block carry the :attr:`report` that was put here before."""

    def __init__(self) -> None:
        self.report: IndexingReport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.report is not None:
            carry_report(error, self.report)
