//! Interactive sessions: talked to as their users do, and as nobody should.

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::server::Server;
use crate::socket::{Refusal, Talk};

const ANN: (&str, &str) = ("Authorization", "Bearer ann");
const BOB: (&str, &str) = ("X-Auth-Token", "bob");

fn python(source: &str) -> Value {
    json!({ "language": "python", "source": source })
}

/// Waits until something is so.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "in a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether a process of this machine has this word among its arguments.
fn is_running(word: &str) -> bool {
    let of_process = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let words = fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(of_process);
    words.into_iter().any(|line| line.split(|byte| *byte == 0).any(|found| found == word.as_bytes()))
}

pub(crate) fn a_program_is_talked_to(server: &Server) {
    let source = "import sys\nname = input('who? ')\nprint('hello', name)\n\
                  print('oh', file=sys.stderr)\nread = sys.stdin.buffer.read()\n\
                  sys.stdout.buffer.write(b'\\xff' + read)\nsys.exit(len(read))";
    let mut talk = Talk::start(server.address, &[], python(source));
    talk.until("started");
    // The question is there before the answer is typed.
    talk.until_output("who? ");
    talk.stdin("wörld\n");
    talk.until_output("hello wörld\n");
    // Python writes the end of a line by itself.
    let mut said = String::new();
    while said != "oh\n" {
        let piece = talk.until("output");
        said.push_str(piece["text"].as_str().unwrap());
        assert!(piece["stream"] == "stderr" && "oh\n".starts_with(&said), "{said:?}, {piece}");
    }
    // What is no text comes and goes as it is.
    talk.send(Message::binary(b"a\xff".to_vec())).unwrap();
    talk.say(&json!({ "type": "stdin", "base64": "/w==" }));
    talk.say(&json!({ "type": "close_stdin" }));
    assert_eq!(talk.until("output")["base64"], "/2H//w==");
    let end = talk.until("finished");
    assert_eq!((&end["report"]["exit_code"], &end["reason"]), (&json!(3), &Value::Null), "{end}");
    assert_eq!(talk.closed(), Some(1000));
}

pub(crate) fn a_terminal_is_a_terminal(server: &Server) {
    let source = "import os, signal, sys\n\
                  def show(*_):\n    print(tuple(os.get_terminal_size()), flush=True)\n\
                  signal.signal(signal.SIGWINCH, show)\n\
                  signal.signal(signal.SIGUSR1, lambda *_: print('signalled', flush=True))\n\
                  print(sys.stdin.isatty(), sys.stdout.isatty())\nshow()\n\
                  while True: print('read', input(), flush=True)";
    let mut program = python(source);
    program["terminal"] = json!({ "rows": 24, "columns": 80 });
    let mut talk = Talk::start(server.address, &[], program);
    talk.until_output("True True\r\n(80, 24)");
    talk.say(&json!({ "type": "resize", "rows": 50, "columns": 132 }));
    talk.until_output("(132, 50)");
    talk.say(&json!({ "type": "signal", "signal": "SIGUSR1" }));
    talk.until_output("signalled");
    talk.stdin("line\r");
    talk.until_output("read line");
    // The terminal itself makes a signal of the interrupt key.
    talk.stdin("\u{3}");
    let end = talk.until("finished");
    assert!(end["report"]["signal"] == "SIGINT" || end["report"]["exit_code"] == 130, "{end}");
}

pub(crate) fn what_does_not_compile_is_explained(server: &Server) {
    let program = json!({ "language": "c", "source": "int main(void) { return x; }" });
    let mut talk = Talk::start(server.address, &[], program);
    let compiled = talk.until("compiled");
    assert_eq!(compiled["report"]["exit_code"], 1, "{compiled}");
    let end = talk.until("finished");
    assert!(end["report"].is_null() && end["hints"][0]["line"] == 1, "{end}");
    // What fails while it runs is explained too, and cancelled at once.
    let mut talk = Talk::start(server.address, &[], python("pritn(1)"));
    assert!(talk.until("finished")["hint"].as_str().unwrap().contains("print"));
    let mut talk = Talk::start(server.address, &[], python("while True: pass"));
    talk.until("started");
    talk.say(&json!({ "type": "cancel" }));
    let end = talk.until("finished");
    assert_eq!((&end["report"]["outcome"], &end["reason"]), (&json!("cancelled"), &json!("cancelled")));
}

pub(crate) fn what_is_said_wrong_ends_it_by_name(server: &Server) {
    for (first, pointer) in [
        (json!({ "type": "stdin", "text": "" }), "/type"),
        (json!({ "type": "start", "language": "cobolt", "source": "" }), "/language"),
        (json!({ "type": "start", "language": "python" }), "/source"),
        (json!({ "type": "start", "language": "python", "source": "", "tests": [] }), "/tests"),
        (
            json!({ "type": "start", "language": "python", "source": "", "limits": { "wall_seconds": 1e6 } }),
            "/limits/wall_seconds",
        ),
        (
            json!({ "type": "start", "language": "python", "source": "", "terminal": { "rows": 1, "columns": 0 } }),
            "/terminal/columns",
        ),
    ] {
        let mut talk = Talk::open(server.address, &[]).unwrap();
        talk.say(&first);
        let problem = talk.until("error")["problem"].clone();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(talk.closed(), Some(1008));
    }
    for second in ["{", r#"{"type":"signal","signal":"SIGNAL"}"#, r#"{"type":"start"}"#] {
        let mut talk = Talk::start(server.address, &[], python("input()"));
        talk.until("started");
        talk.send(Message::text(second)).unwrap();
        talk.until("error");
        assert_eq!(talk.closed(), Some(1008));
    }
    let mut talk = Talk::open(server.address, &[]).unwrap();
    talk.send(Message::binary(b"start".to_vec())).unwrap();
    talk.until("error");
}

pub(crate) fn who_leaves_leaves_no_process(server: &Server) {
    for (number, source) in
        ["while True: pass", "input()", "while True: print('x' * 1000)"].iter().enumerate()
    {
        let mark = format!("mark-{}-{number}", std::process::id());
        let mut program = python(source);
        program["arguments"] = json!([mark]);
        let mut talk = Talk::start(server.address, &[], program);
        talk.until("started");
        eventually("the program runs", || is_running(&mark));
        // The connection ends without a farewell.
        drop(talk);
        eventually("the program is gone", || !is_running(&mark));
    }
}

pub(crate) fn nobody_comes_who_may_not(server: &Server) {
    let open = |headers: &[(&str, &str)]| Talk::open(server.address, headers).map(|_| ());
    assert_eq!(open(&[]), Err(Refusal(401, None)));
    assert_eq!(open(&[("X-Auth-Token", "mallory")]), Err(Refusal(401, None)));
    assert_eq!(open(&[ANN, ("Origin", "http://evil.example")]), Err(Refusal(403, None)));
    assert_eq!(open(&[ANN, ("Origin", "null")]), Err(Refusal(403, None)));
    open(&[ANN, ("Origin", "https://school.example")]).unwrap();
    open(&[ANN, ("Origin", &format!("http://{}", server.address))]).unwrap();
    // As a page does, which can set no header.
    let offered = format!("evalx, evalx.bearer.{}", URL_SAFE_NO_PAD.encode("eve"));
    let program = python("print(1)");
    Talk::start(server.address, &[("Sec-WebSocket-Protocol", &offered)], program).until("finished");
    // What is no WebSocket is told so.
    let plain = crate::client::send(server.address, "GET", "/v1/sessions", &[ANN], b"");
    assert!([400, 426].contains(&plain.status), "{plain:?}");
}

pub(crate) fn no_more_sit_than_may(server: &Server) {
    eventually("all seats are free", || {
        let seats: Vec<_> = [ANN, ANN, BOB].iter().map(|who| Talk::open(server.address, &[*who])).collect();
        seats.iter().all(Result::is_ok)
    });
    let sit = |who| -> Result<Talk, Refusal> { Talk::open(server.address, &[who]) };
    let (mut seated, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while seated.len() < 2 {
        // Those above are left, but perhaps not noticed yet.
        seated.extend(sit(ANN));
        assert!(Instant::now() < deadline);
    }
    assert_eq!(sit(ANN).err(), Some(Refusal(429, Some(5))));
    eventually("bob has a seat", || match sit(BOB) {
        Ok(mut bob) => {
            assert_eq!(sit(("X-Auth-Token", "eve")).err(), Some(Refusal(503, Some(5))));
            bob.say(&json!({ "type": "start", "language": "python", "source": "print(1)" }));
            bob.until("finished");
            true
        }
        Err(_) => false,
    });
    drop(seated);
    eventually("what was left can be taken", || sit(ANN).is_ok());
}

pub(crate) fn what_is_too_much_is_not_taken(server: &Server) {
    // A frame that says it has a terabyte.
    let mut talk = Talk::open(server.address, &[ANN]).unwrap();
    talk.raw(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    assert_ne!(talk.closed(), Some(1000));
    // A message in so many parts that together they are too large.
    let mut talk = Talk::open(server.address, &[ANN]).unwrap();
    let part = vec![b'a'; 1 << 20];
    let head = |first: bool| [if first { 0x01 } else { 0x00 }, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    for number in 0..3 {
        talk.raw(&head(number == 0));
        talk.raw(&part);
    }
    assert_ne!(talk.closed(), Some(1000));
    // Stdin that nobody reads.
    let mut talk = Talk::start(server.address, &[ANN], python("import time\nwhile True: time.sleep(1)"));
    talk.until("started");
    let piece = "x".repeat(200_000);
    let sent = (0..20).take_while(|_| talk.send(Message::binary(piece.clone())).is_ok()).count();
    let problem = talk.until("error")["problem"].clone();
    assert_eq!(problem["status"], 413, "{problem} after {sent}");
    assert_eq!(talk.closed(), Some(1008));
    server.get("/healthz").expect(200);
}

pub(crate) fn who_does_not_read_is_left(server: &Server) {
    let mark = format!("deaf-{}", std::process::id());
    let mut program = python("while True: print('x' * 10_000)");
    program["arguments"] = json!([mark]);
    let mut talk = Talk::start(server.address, &[ANN], program);
    talk.until("started");
    eventually("the program runs", || is_running(&mark));
    let before = server.memory();
    // It would write 64 MB; what is not read is not written either.
    eventually("the program is ended", || !is_running(&mark));
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 30 << 20, "{grown} bytes for one who does not read");
    drop(talk);
    // Who says nothing is left too.
    let mut talk = Talk::start(server.address, &[ANN], python("input()"));
    assert_eq!(talk.until("finished")["reason"], "idle");
}

pub(crate) fn who_sits_at_the_end_is_told_so() -> Result<(), String> {
    let mut server =
        Server::start(&[("EVALX_SANDBOX", "native"), ("EVALX_ONLY_LANGUAGES", "python")])?.ready()?;
    let mut running = Talk::start(server.address, &[], python("input()"));
    let mut waiting = Talk::open(server.address, &[]).unwrap();
    running.until("started");
    server.signal(Signal::SIGTERM);
    let end = running.until("finished");
    assert_eq!((&end["reason"], &end["report"]["outcome"]), (&json!("shutting_down"), &json!("cancelled")));
    assert_eq!((running.closed(), waiting.closed()), (Some(1001), Some(1001)));
    assert!(server.ended(Duration::from_secs(30)).success());
    Ok(())
}
