"""What was sent, what it cost, and the budget that it may not pass. Sends nothing."""

import threading

from autolabel.errors import BudgetReached, ConfigError


class Budget:
    """US dollars that the meters of a run may spend together; None for no limit."""

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.meters: list[Meter] = []

    def promised(self) -> float:
        """What is spent or set aside."""
        return sum(meter.promised() for meter in self.meters)


class Meter:
    """Counts what was sent and billed, and refuses what could pass the budget. Threads may share one.

    Billed are 200 answers and tries whose outcome is unclear (sent, then no whole answer, or a 5xx);
    not billed is what was certainly refused (4xx), or never sent. A request costs what the host says,
    else `price` (US dollars).
    """

    def __init__(self, price: float | None = None, budget: Budget | float | None = None) -> None:
        budget = budget if isinstance(budget, Budget) else Budget(budget)
        if budget.limit is not None and price is None:
            raise ConfigError(
                "label.budget is set, but this host states no price: set backend.price_per_request"
            )
        self._price = price
        self._budget = budget
        self._lock = budget.lock
        budget.meters.append(self)
        self._reserved = 0
        self._stated = 0  # billed requests whose cost the host said, and
        self._stated_cost = 0.0  # their sum
        self.requests = 0  # HTTP requests that were sent, retries included
        self.retries = 0  # those of them that repeat an earlier one
        self.billed = 0

    @property
    def cost(self) -> float | None:
        """US dollars billed so far, None where the price of one is not known."""
        at_price = self.billed - self._stated
        if self._price is None:
            return self._stated_cost if self._stated and not at_price else None
        return self._stated_cost + at_price * self._price

    def promised(self) -> float:
        """US dollars billed or set aside, as far as a price is known."""
        return (self.cost or 0.0) + self._reserved * (self._price or 0.0)

    def reserve(self) -> None:
        """Set the price of one try aside; `settle` must follow.

        Raises BudgetReached, and sets nothing aside, where the sum could then pass the budget.
        """
        with self._lock:
            limit = self._budget.limit
            if limit is not None and self._price:
                promised = self._budget.promised()
                if promised + self._price > limit + 1e-9:
                    raise BudgetReached(
                        f"one more request at {self._price:g} could pass label.budget {limit:g} "
                        f"({promised:g} is spent or under way): raise label.budget to go on"
                    )
            self._reserved += 1

    def settle(
        self, billed: bool, *, sent: bool = True, retry: bool = False, cost: float | None = None
    ) -> None:
        """Close one reserved try, at the `cost` that the host says. One that was not `sent` is no request."""
        with self._lock:
            self._reserved -= 1
            self.billed += billed
            self.requests += sent
            self.retries += sent and retry
        if billed and cost is not None:
            self.state(cost)

    def state(self, cost: float) -> None:
        """Note what the host says that one request cost, of those that count at the price until now."""
        with self._lock:
            self._stated += 1
            self._stated_cost += cost
