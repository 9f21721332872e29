from pathlib import Path

import falcon
from falcon.testing import create_environ

from appliance.cli.multipart import Form
from appliance.web.sent_files import sent_files


def test_what_is_sent_is_a_form_that_the_front_reads(tmp_path: Path) -> None:
    odd = tmp_path / "x"
    odd.write_bytes(b"body")
    form = Form([('a "b"\n.zip', odd), ("t.csv", odd)])
    body = b"".join(form.pieces())
    assert len(body) == form.size_bytes
    environ = create_environ(method="POST", body=body, headers={"Content-Type": form.content_type})
    files = [
        (file.name, file.content_type, file.stream.read())
        for file in sent_files(falcon.Request(environ), most_files=5, whole_types=())
    ]
    assert [content for _, _, content in files] == [b"body", b"body"]
    assert files[0][1] == "application/zip"
    assert "\n" not in files[0][0]
    assert files[1][:2] == ("t.csv", "text/csv")
