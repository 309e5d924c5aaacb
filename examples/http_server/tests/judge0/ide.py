#!/usr/bin/env python3
"""Judge0's IDE, unmodified, in a browser, against this server.

    python3 -m venv venv && venv/bin/pip install playwright
    git clone https://github.com/judge0/ide ide
    venv/bin/python examples/http_server/tests/judge0/ide.py http://127.0.0.1:3000 ide libraries

It needs `chromium` and `openssl`. `libraries` is a folder of six files that the
page takes from elsewhere: jquery.min.js 3.7.1; semantic.min.js and
semantic.min.css 2.5.0; goldenlayout.min.js, goldenlayout-base.css and
goldenlayout-dark-theme.css 1.5.9. The page checks their hashes.

The page names its servers by constants. A browser that takes these names for
ports of this machine asks ours in their place, preflights and all. Prints a
line for each program; exits with 1 if one did not end as it should.
"""

import http.client
import http.server
import mimetypes
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from playwright.sync_api import sync_playwright

if len(sys.argv) != 4:
    sys.exit(__doc__)
BACKEND = urllib.parse.urlsplit(sys.argv[1]).netloc
IDE, LIBRARIES = sys.argv[2:]
PUTER = b'window.puter = { env: "web" }'


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def flavour(prefix):
    """A host of Judge0: our server, below this path."""

    class Forward(Quiet):
        def do_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            skipped = ("connection", "host", "content-length", "transfer-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
            connection = http.client.HTTPConnection(BACKEND, timeout=60)
            connection.request(self.command, prefix + self.path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in skipped]
            self.answer(response.status, headers, content)

        do_GET = do_POST = do_OPTIONS = do_any

    return Forward


class Elsewhere(Quiet):
    """The hosts that scripts come from."""

    def do_GET(self):
        name = os.path.join(LIBRARIES, os.path.basename(self.path.split("?")[0]))
        headers = [("Access-Control-Allow-Origin", "*")]
        if "puter" in self.headers["Host"]:
            return self.answer(200, [*headers, ("Content-Type", "text/javascript")], PUTER)
        if not os.path.isfile(name):
            return self.answer(404, headers, b"")
        kind = mimetypes.guess_type(name)[0]
        with open(name, "rb") as file:
            self.answer(200, [*headers, ("Content-Type", kind)], file.read())


class Page(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments):
        super().__init__(*arguments, directory=IDE)

    def log_message(self, *_):
        pass


def serve(handler, certificate=None):
    """Serves on a free port, over TLS if there is a certificate; gives the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def certificate(folder):
    path = os.path.join(folder, "both.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=here"]
    subprocess.run([*command, "-keyout", path, "-out", path], check=True, stderr=subprocess.DEVNULL)
    return path


# The language's first words, its flavour, the program, its stdin; the status and the output that are expected.
PROGRAMS = [
    (None, "CE", None, None, "Accepted", "12\n5\nNO"),
    ("Python (", "CE", "import sys\nprint('h\u00e9llo', input())\nprint('err', file=sys.stderr)",
     "w\u00f6rld", "Accepted", "h\u00e9llo w\u00f6rld\nerr"),
    ("Bash", "CE", "cat", "in", "Accepted", "in"),
    ("C (", "CE", "int main(void) { return *(volatile int *)0; }", "", "Runtime Error (SIGSEGV)", ""),
    ("C (", "CE", "int main(void) { return 0 }", "", "Compilation Error", None),
    ("Python for ML", "EXTRA_CE", "print(1)", "", "Accepted", "1"),
]
CHOOSE = """([words, flavour]) => {
    const option = [...document.querySelectorAll('#select-language option')]
        .find(option => option.text.startsWith(words) && option.getAttribute('flavor') === flavour);
    option.selected = true;
    $('#select-language').trigger('change');
    $('#compiler-options').val('');
}"""
ENDED = "/TAT/.test($('#status-line').text()) || $('#site-modal').is(':visible')"


def run(page, words, flavour_name, source, stdin):
    """Runs a program in the page; gives its status and output."""
    if words:
        page.evaluate(CHOOSE, [words, flavour_name])
        page.evaluate("([source, stdin]) => { sourceEditor.setValue(source); stdinEditor.setValue(stdin); }",
                      [source, stdin])
    page.evaluate("() => { $('#status-line').html(''); }")
    page.click("#run-btn")
    page.wait_for_function(ENDED, timeout=60000)
    return page.inner_text("#status-line").split(",")[0], page.evaluate("stdoutEditor.getValue()")


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        both = certificate(folder)
        judge0, extra, elsewhere = (serve(handler, both) for handler in (flavour(""), flavour("/extra-ce"), Elsewhere))
        hosts = {"judge0-ce.p.sulu.sh": judge0, "ce.judge0.com": judge0, "judge0-extra-ce.p.sulu.sh": extra,
                 "extra-ce.judge0.com": extra, "cdnjs.cloudflare.com": elsewhere, "js.puter.com": elsewhere}
        rules = [f"MAP {host} 127.0.0.1:{port}" for host, port in hosts.items()] + ["MAP *.googleapis.com ~NOTFOUND"]
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--ignore-certificate-errors", "--host-resolver-rules=" + ",".join(rules)])
        page = browser.new_page(ignore_https_errors=True)
        page.goto(f"http://127.0.0.1:{serve(Page)}/index.html")
        page.wait_for_function("window.stdoutEditor && sourceEditor.getValue() !== ''", timeout=60000)
        failed = 0
        for words, flavour_name, source, stdin, status, output in PROGRAMS:
            found = run(page, words, flavour_name, source, stdin)
            good = found[0] == status and output in (None, found[1])
            failed += not good
            print("ok  " if good else "FAIL", words or "the page's own program", *map(repr, found))
        browser.close()
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
