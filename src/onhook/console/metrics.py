"""What the console counts of itself, for `/metrics`."""


class ResponseCounters:
    """Answers by status; bounded, because there are few statuses."""

    def __init__(self) -> None:
        self._answers: dict[int, int] = {}

    def note_answer(self, status: int) -> None:
        """Count one answer."""
        self._answers[status] = self._answers.get(status, 0) + 1

    def answers(self) -> dict[int, int]:
        """How many answers had which status, since the start."""
        return dict(sorted(self._answers.items()))
