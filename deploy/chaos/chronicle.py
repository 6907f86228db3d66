"""What happened when: told as it happens, and kept for the report."""

import sys
import threading
import time


class Chronicle:
    def __init__(self):
        self.began = time.time()
        self.lines = []
        self.lock = threading.Lock()

    def tell(self, topic, text, **facts):
        at = time.time()
        with self.lock:
            self.lines.append({"at": round(at, 3), "topic": topic, "text": text, **facts})
            print(f"{at - self.began:8.1f}s  {topic:<14} {text}", file=sys.stderr, flush=True)
        return at
