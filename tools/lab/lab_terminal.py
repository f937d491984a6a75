"""The terminal that --interactive connects: raw while the lab runs, as it was before afterwards."""
import os
import signal
import sys
import termios
import tty

ESCAPE = b"\x1d" * 3  # Ctrl-] three times


class Terminal:
    def __init__(self):
        self.input_fd = sys.stdin.fileno()
        self.is_tty = os.isatty(self.input_fd)
        self.saved = None
        self.resized = True
        self.tail = b""

    def __enter__(self):
        if self.is_tty:
            self.saved = termios.tcgetattr(self.input_fd)
            tty.setraw(self.input_fd)
            signal.signal(signal.SIGWINCH, self.on_resize)
        return self

    def __exit__(self, *_):
        if self.saved:
            termios.tcsetattr(self.input_fd, termios.TCSAFLUSH, self.saved)
            self.saved = None

    def on_resize(self, *_):
        self.resized = True

    def size(self):
        """Rows and columns."""
        try:
            columns, rows = os.get_terminal_size(self.input_fd)
        except OSError:
            return 24, 80
        return rows or 24, columns or 80

    def read(self):
        data = os.read(self.input_fd, 4096)
        self.tail = (self.tail + data)[-len(ESCAPE) :]
        if self.is_tty and self.tail == ESCAPE:
            raise KeyboardInterrupt
        return data
