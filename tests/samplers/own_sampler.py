"""A sampler as a user would write it: a random walk from the best point so far."""

import random


class Walk:
    def __init__(self, space, seed, reach=0.2):
        self.space, self.reach = space, reach
        self.random = random.Random(seed)
        self.best, self.best_value = None, float("inf")

    def ask(self, n):
        return [self._point() for _ in range(n)]

    def tell(self, trials):
        for trial in trials:
            if trial.state == "COMPLETE" and trial.values[0] < self.best_value:
                self.best, self.best_value = trial.params, trial.values[0]

    def _point(self):
        point = {}
        for name, domain in self.space.items():
            if isinstance(domain, list):
                point[name] = self.random.choice(domain)
                continue
            low, high = domain["low"], domain["high"]
            if isinstance(low, int):
                point[name] = self.random.randint(low, high)
            elif "step" in domain:
                point[name] = low + domain["step"] * self.random.randrange(round((high - low) / domain["step"]) + 1)
            elif self.best is None:
                point[name] = self.random.uniform(low, high)
            else:
                reach = self.reach * (high - low)
                point[name] = min(max(self.best[name] + self.random.uniform(-reach, reach), low), high)
        return point


class Notes:
    """Keeps what it is told."""

    def __init__(self, space, seed):
        self.names, self.seed = list(space), seed
        self.count, self.told = 0, []

    def ask(self, n):
        self.count += n
        assert self.names == ["x", "n", "kind"]
        return [{"x": (self.count - i) / 100, "n": 1, "kind": "a"} for i in range(n, 0, -1)]

    def tell(self, trials):
        self.told += [(trial.number, trial.params, trial.values) for trial in trials]


class Given:
    """Always gives the same value."""

    def __init__(self, space, seed, value):
        self.names, self.seed, self.value = list(space), seed, value

    def ask(self, n):
        return [{self.names[0]: self.value} for _ in range(n)]

    def tell(self, trials):
        """Nothing is learned."""
