"""A sink that calls a function."""


class Each:
    def __init__(self, function):
        self._function = function

    def open(self, session):
        pass

    def take(self, snapshot):
        self._function(snapshot)

    def close(self):
        pass
