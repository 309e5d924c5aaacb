#!/usr/bin/env python3
"""Judge0's official client, unmodified, and two others, against this server.

    python3 -m venv venv && venv/bin/pip install judge0==0.0.8 judge0-client==0.4.0 judge0api==0.1.20
    venv/bin/python examples/http_server/tests/judge0/clients.py http://127.0.0.1:3000

Prints a line for each check; exits with 1 if one fails. The server must offer
Python, C, C++, Java and JavaScript.
"""

import asyncio
import base64
import json
import os
import sys
import time
import traceback
import urllib.parse
import urllib.request

ENDPOINT = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:3000"
os.environ["JUDGE0_CE_ENDPOINT"] = ENDPOINT
os.environ["JUDGE0_CE_AUTH_HEADERS"] = json.dumps({})
os.environ["JUDGE0_EXTRA_CE_ENDPOINT"] = ENDPOINT + "/extra-ce"
os.environ["JUDGE0_EXTRA_CE_AUTH_HEADERS"] = json.dumps({})

import judge0  # noqa: E402
import judge0api  # noqa: E402
from judge0.filesystem import File, Filesystem  # noqa: E402
from judge0.submission import Submission  # noqa: E402

HELLO = {
    judge0.PYTHON: 'print("hello")',
    judge0.C: '#include <stdio.h>\nint main(void) { puts("hello"); }',
    judge0.CPP: '#include <iostream>\nint main() { std::cout << "hello\\n"; }',
    judge0.JAVA: 'public class Main { public static void main(String[] a) { System.out.println("hello"); } }',
    judge0.JAVASCRIPT: 'console.log("hello")',
}
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client():
    return judge0.Client(endpoint=ENDPOINT, headers={})


def run(**fields):
    return judge0.run(client=client(), **fields)


@check
def hello_in_five_languages():
    for language, source in HELLO.items():
        result = run(source_code=source, language=language)
        assert result.stdout == "hello\n", (language, result.status, result.stdout, result.compile_output)
        assert result.status == judge0.Status.ACCEPTED
        assert float(result.time) >= 0 and int(result.memory) > 0


@check
def stdin_and_expected_output():
    source = "print(int(input()) * 2)"
    result = run(source_code=source, language=judge0.PYTHON, stdin="21", expected_output="42")
    assert result.status == judge0.Status.ACCEPTED, result.status
    result = run(source_code=source, language=judge0.PYTHON, stdin="21", expected_output="43")
    assert result.status == judge0.Status.WRONG_ANSWER, result.status


@check
def errors():
    result = run(source_code="int main( {", language=judge0.C)
    assert result.status == judge0.Status.COMPILATION_ERROR, result.status
    assert "error" in result.compile_output
    result = run(source_code="raise SystemExit(3)", language=judge0.PYTHON)
    assert result.status == judge0.Status.RUNTIME_ERROR_NZEC and result.exit_code == 3, result.status
    assert result.message is not None
    result = run(source_code="int main(void) { volatile int *p = 0; *p = 1; }", language=judge0.C)
    assert result.status == judge0.Status.RUNTIME_ERROR_SIGSEGV, result.status
    result = run(source_code="while True: pass", language=judge0.PYTHON, cpu_time_limit=0.5)
    assert result.status == judge0.Status.TIME_LIMIT_EXCEEDED, result.status


@check
def more_ways_to_fail():
    result = run(source_code="public class Main { int x = ; }", language=judge0.JAVA)
    assert result.status == judge0.Status.COMPILATION_ERROR and "Main.java" in result.compile_output, result.status
    result = run(source_code="int main() { return undefined; }", language=judge0.CPP)
    assert result.status == judge0.Status.COMPILATION_ERROR and result.stdout is None, result.status
    result = run(source_code="#include <stdlib.h>\nint main(void) { abort(); }", language=judge0.C)
    assert result.status == judge0.Status.RUNTIME_ERROR_SIGABRT, result.status
    zero = "int main(int n, char **v) { volatile int z = n - 1; return 7 / z; }"
    result = run(source_code=zero, language=judge0.C)
    assert result.status == judge0.Status.RUNTIME_ERROR_SIGFPE, result.status
    result = run(source_code="throw new Error('x')", language=judge0.JAVASCRIPT)
    assert result.status == judge0.Status.RUNTIME_ERROR_NZEC and "Error: x" in result.stderr, result.status
    result = run(source_code="x = bytearray(400_000_000)", language=judge0.PYTHON, memory_limit=65536)
    assert result.status == judge0.Status.RUNTIME_ERROR_NZEC, result.status
    # A failure goes before an output that is right.
    result = run(source_code="print(1); raise SystemExit(2)", language=judge0.PYTHON, expected_output="1")
    assert result.status == judge0.Status.RUNTIME_ERROR_NZEC and result.stdout == "1\n", result.status


@check
def time_limits():
    result = run(source_code="import time; time.sleep(9)", language=judge0.PYTHON, wall_time_limit=1)
    # The client leaves this one field in base64.
    message = base64.b64decode(result.message).decode()
    assert result.status == judge0.Status.TIME_LIMIT_EXCEEDED and "wall clock" in message, message
    # What may go on for a while is told how slow it was.
    slow = "import time\nwhile time.process_time() < 0.8: pass\nprint('done')"
    result = run(source_code=slow, language=judge0.PYTHON, cpu_time_limit=0.4, cpu_extra_time=3)
    assert result.status == judge0.Status.TIME_LIMIT_EXCEEDED, result.status
    assert float(result.time) >= 0.7 and result.stdout == "done\n", (result.time, result.stdout)
    result = run(source_code=slow, language=judge0.PYTHON, cpu_time_limit=0.3, cpu_extra_time=0)
    assert result.status == judge0.Status.TIME_LIMIT_EXCEEDED and result.stdout is None, result.stdout
    result = run(source_code="print(1)", language=judge0.PYTHON, number_of_runs=3)
    assert result.status == judge0.Status.ACCEPTED and result.number_of_runs == 3, result.status


@check
def streams():
    both = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    result = run(source_code=both, language=judge0.PYTHON)
    assert (result.stdout, result.stderr) == ("out\n", "err\n"), result
    result = run(source_code=both, language=judge0.PYTHON, redirect_stderr_to_stdout=True)
    assert (result.stdout, result.stderr) == ("out\nerr\n", None), result
    large = "é" * 300_000
    result = run(source_code="import sys; print(len(sys.stdin.read()))", language=judge0.PYTHON, stdin=large)
    assert result.stdout == "300000\n", result.stdout
    for expected, status in [("a \r\nb\n\n", judge0.Status.ACCEPTED), ("A\nb", judge0.Status.WRONG_ANSWER)]:
        result = run(source_code="print('a\\nb')", language=judge0.PYTHON, expected_output=expected)
        assert result.status == status, (expected, result.status)


@check
def no_language_means_the_other_flavour():
    result = judge0.run(source_code="print('hello')")
    assert result.stdout == "hello\n", result


@check
def test_cases():
    cases = [judge0.TestCase("1", "2"), judge0.TestCase("2", "4"), judge0.TestCase("3", "7")]
    results = run(source_code="print(int(input()) * 2)", language=judge0.PYTHON, test_cases=cases)
    statuses = [result.status for result in results]
    assert statuses == [judge0.Status.ACCEPTED, judge0.Status.ACCEPTED, judge0.Status.WRONG_ANSWER], statuses


@check
def batches_and_many_at_once():
    submissions = [
        Submission(source_code=f"print({number})", language=judge0.PYTHON) for number in range(50)
    ]
    results = judge0.run(client=client(), submissions=submissions)
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(50)]


@check
def additional_files():
    files = Filesystem(content=[File(name="my_file.txt", content="from a file")])
    result = run(source_code='print(open("my_file.txt").read())', language=judge0.PYTHON, additional_files=files)
    assert result.stdout == "from a file\n", result


@check
def several_files():
    files = Filesystem(
        content=[
            File(name="main.cpp", content='#include <iostream>\n#include "add.h"\nint main() { std::cout << add(2, 3); }'),
            File(name="add.h", content="inline int add(int a, int b) { return a + b; }"),
            File(name="compile", content="g++ main.cpp -o program"),
            File(name="run", content="./program"),
        ]
    )
    result = run(source_code="", language=judge0.MULTI_FILE, additional_files=files)
    assert result.stdout == "5", (result.status, result.stdout, result.compile_output, result.stderr)


@check
def arguments_and_options():
    result = run(
        source_code="import sys; print(sys.argv[1:])", language=judge0.PYTHON, command_line_arguments="a 'b c' $d"
    )
    assert result.stdout == "['a', 'b c', 'd']\n", result.stdout
    result = run(
        source_code='#include <stdio.h>\nint main(void) { printf("%d", X); }', language=judge0.C, compiler_options="-DX=7"
    )
    assert result.stdout == "7", (result.stdout, result.compile_output)


@check
def unicode_binary_and_large_output():
    result = run(source_code='print("ünïcödé 漢字 🎉")', language=judge0.PYTHON)
    assert result.stdout == "ünïcödé 漢字 🎉\n", result.stdout
    result = run(source_code='import sys; sys.stdout.buffer.write(b"a\\xff")', language=judge0.PYTHON)
    assert result.status == judge0.Status.ACCEPTED and result.stdout.startswith("a"), result
    result = run(source_code='print("x" * 500_000)', language=judge0.PYTHON)
    assert len(result.stdout) == 500_001


@check
def an_unusable_submission_is_refused():
    try:
        run(source_code="print(1)", language=4)
    except Exception as error:  # whatever the client makes of a 422
        assert "422" in str(error) or "does not support" in str(error), error
    else:
        raise AssertionError("an archived language was taken")


@check
def another_client_judge0api():
    other = judge0api.Client(ENDPOINT)
    result = judge0api.submission.submit(other, b"print(input())", 71, stdin=b"hi", expected_output=b"hi")
    assert result.status["id"] == 3 and result.stdout == b"hi\n", (result.status, result.stdout)


@check
def another_client_judge0api_on_failures():
    other = judge0api.Client(ENDPOINT)
    result = judge0api.submission.submit(other, b"int main( {", 50)
    assert result.status["id"] == 6 and b"error" in result.compile_output, result.status
    result = judge0api.submission.submit(other, b"print(1)", 71, expected_output=b"2")
    assert result.status["id"] == 4, result.status
    again = judge0api.submission.get(other, result.token)
    assert again.stdout == b"1\n", again.stdout


@check
def another_client_judge0_client_on_submissions():
    from judge0_client import Judge0Client, MultiFileSubmission, SingleFileSubmission

    async def finished(other, request):
        token = (await other.create_submission(request)).token
        for _ in range(600):
            detail = await other.get_submission(token)
            if detail.status.id > 2:
                return detail
            await asyncio.sleep(0.05)
        raise AssertionError("no result in time")

    async def talk():
        async with Judge0Client(ENDPOINT) as other:
            source = "print(input() + open('more.txt').read())"
            single = SingleFileSubmission(
                source_code=source, language_id=71, stdin="ü", expected_output="üé", additional_files={"more.txt": "é"}
            )
            detail = await finished(other, single)
            assert detail.status.id == 3 and detail.stdout == "üé\n", detail
            several = MultiFileSubmission(additional_files={"main.py": "print('several')", "run": "python3 main.py"})
            detail = await finished(other, several)
            assert detail.stdout == "several\n", detail
            failed = SingleFileSubmission(source_code="raise SystemExit(7)", language_id=71)
            detail = await finished(other, failed)
            assert detail.status.id == 11 and "7" in detail.message, detail

    asyncio.run(talk())


@check
def what_no_client_has():
    def ask(path, body=None, kind="application/json"):
        request = urllib.request.Request(ENDPOINT + path, data=body, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    form = urllib.parse.urlencode({"language_id": "71", "source_code": "print(input())", "stdin": "x y"}).encode()
    result = ask("/submissions/?wait=true", form, "application/x-www-form-urlencoded")
    assert result["stdout"] == "x y\n" and result["status"]["id"] == 3, result
    batch = json.dumps({"submissions": [{"language_id": 71, "source_code": "print(1)"}, {"language_id": 71}]})
    first, second = ask("/submissions/batch", batch.encode())
    assert "token" in first and second == {"source_code": ["can't be blank"]}, (first, second)
    statistics = ask("/statistics?invalidate_cache=true")
    counted = {status["status"]["id"]: status["count"] for status in statistics["statuses"]}
    assert statistics["submissions"]["total"] == sum(counted.values()) and counted[3] > 50, statistics
    assert any(language["language"]["name"].startswith("Python") for language in statistics["languages"])
    assert ask("/config_info")["cpu_extra_time"] == 1.0


@check
def another_client_judge0_client():
    from judge0_client import Judge0Client

    async def talk():
        async with Judge0Client(ENDPOINT) as other:
            about = await other.get_about()
            workers = await other.get_workers()
            assert about.version == workers[0].queue and workers[0].failed == 0, (about, workers)
            assert await other.get_isolate() and await other.get_license()

    asyncio.run(talk())


def main():
    failed = 0
    for function in CHECKS:
        began = time.monotonic()
        try:
            function()
            outcome = "ok"
        except Exception:
            traceback.print_exc()
            outcome, failed = "FAILED", failed + 1
        print(f"{function.__name__}: {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
