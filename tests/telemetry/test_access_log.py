from __future__ import annotations

import io
import json

from plimsoll.telemetry.access_log import AccessLine, AccessLog, utc_now


def test_a_line_is_one_json_object_without_what_was_not_set() -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    log.write(
        AccessLine(time=utc_now(), request_id="a\nb", surface="chat", status=200, seconds=1.5)
    )
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {"request_id": "a\nb", "surface": "chat", "status": 200, "seconds": 1.5}
