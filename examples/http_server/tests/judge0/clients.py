#!/usr/bin/env python3
"""Judge0's official client, unmodified, and two others, against this server.

    python3 -m venv venv && venv/bin/pip install judge0==0.0.8 judge0-client==0.4.0 judge0api==0.1.20
    venv/bin/python examples/http_server/tests/judge0/clients.py http://127.0.0.1:3000

Prints a line for each check; exits with 1 if one fails. The server must offer
Python, C, C++, Java and JavaScript.
"""

import asyncio
import json
import os
import sys
import time
import traceback

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
