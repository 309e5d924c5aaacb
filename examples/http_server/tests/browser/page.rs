//! [`Page`]: our page in a tab of its own, as somebody at a keyboard has it.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::chromium::Chromium;

/// How long the page may take to come to a state: a machine under load is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// The page in a tab that shares nothing with others: no draft, no token.
pub(crate) struct Page<'a> {
    chromium: &'a mut Chromium,
    context: String,
    target: String,
    tab: String,
    url: String,
}

/// A test to be typed in.
pub(crate) struct Test<'a> {
    pub(crate) name: &'a str,
    pub(crate) stdin: &'a str,
    pub(crate) expected: &'a str,
}

impl<'a> Page<'a> {
    /// Opens the page and waits until a program can be run.
    pub(crate) fn open(chromium: &'a mut Chromium, url: &str) -> Result<Self, String> {
        let mut call = |tab: Option<&str>, method: &str, parameters: Value| {
            chromium.call(tab, method, &parameters, Duration::ZERO)
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let context = text(&call(None, "Target.createBrowserContext", json!({}))?["browserContextId"]);
        let created =
            call(None, "Target.createTarget", json!({ "url": "about:blank", "browserContextId": context }))?;
        let target = text(&created["targetId"]);
        let attached = call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }))?;
        let tab = text(&attached["sessionId"]);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            call(Some(&tab), domain, json!({}))?;
        }
        let mut page = Self { chromium, context, target, tab, url: url.to_owned() };
        page.resize(1280, 800)?;
        page.go(&page.url.clone())?;
        Ok(page)
    }

    /// Goes to an address, and waits until a program can be run there.
    pub(crate) fn go(&mut self, url: &str) -> Result<(), String> {
        // An address that differs in its fragment alone would not be loaded anew.
        for address in ["about:blank", url] {
            let result = self.call("Page.navigate", &json!({ "url": address }))?;
            if let Some(error) = result["errorText"].as_str() {
                return Err(format!("{address} can't be opened: {error}"));
            }
            self.chromium.wait_for(&self.tab, "Page.loadEventFired")?;
        }
        self.wait("!document.getElementById('run').disabled")
    }

    /// Ends the tab, and says what went wrong in it: errors of scripts, what
    /// the policy refused, and dialogs, which this page has none of.
    pub(crate) fn close(self) -> Result<Vec<String>, String> {
        let errors = self.chromium.take_events(&self.tab).into_iter().filter_map(|event| {
            let parameters = event.parameters;
            let entry = &parameters["entry"];
            // An answer of 4xx is told too, and may be meant.
            let wrong = match event.name.as_str() {
                "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
                "Log.entryAdded" => entry["level"] == "error" && entry["source"] != "network",
                "Runtime.consoleAPICalled" => parameters["type"] == "error",
                _ => false,
            };
            wrong.then(|| format!("{}: {parameters}", event.name))
        });
        let errors = errors.collect();
        self.chromium.call(
            None,
            "Target.closeTarget",
            &json!({ "targetId": self.target }),
            Duration::ZERO,
        )?;
        let context = json!({ "browserContextId": self.context });
        self.chromium.call(None, "Target.disposeBrowserContext", &context, Duration::ZERO)?;
        Ok(errors)
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.chromium.call(Some(&self.tab), method, parameters, Duration::ZERO)
    }

    /// The value of an expression, or of what it promises.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        self.evaluate_within(expression, Duration::ZERO)
    }

    fn evaluate_within(&mut self, expression: &str, time: Duration) -> Result<Value, String> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut result = self.chromium.call(Some(&self.tab), "Runtime.evaluate", &parameters, time)?;
        match result["exceptionDetails"]["exception"]["description"].as_str() {
            Some(description) => Err(format!("{description}\nof {expression}")),
            None => Ok(result["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true.
    pub(crate) fn wait(&mut self, condition: &str) -> Result<(), String> {
        let script = format!(
            "new Promise((done, failed) => {{
                const until = Date.now() + {};
                const look = () => {{
                    if ({condition}) done(true);
                    else if (Date.now() < until) setTimeout(look, 30);
                    else failed(new Error('this did not come true; the page says: ' + document.body.innerText));
                }};
                look();
            }})",
            DEADLINE.as_millis()
        );
        self.evaluate_within(&script, DEADLINE).map(|_| ()).map_err(|error| format!("{condition}: {error}"))
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> Result<String, String> {
        let value = self.evaluate(&format!("document.querySelector({}).textContent", json!(selector)))?;
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{selector} has no text"))
    }

    /// How many elements a selector finds.
    pub(crate) fn count(&mut self, selector: &str) -> Result<u64, String> {
        let value = self.evaluate(&format!("document.querySelectorAll({}).length", json!(selector)))?;
        value.as_u64().ok_or_else(|| format!("{selector} can't be counted"))
    }

    pub(crate) fn click(&mut self, selector: &str) -> Result<(), String> {
        self.evaluate(&format!("document.querySelector({}).click()", json!(selector))).map(|_| ())
    }

    /// Types into the editor, in place of what is there.
    pub(crate) fn write_program(&mut self, source: &str) -> Result<(), String> {
        self.evaluate(&format!(
            "document.querySelector('.CodeMirror').CodeMirror.setValue({})",
            json!(source)
        ))
        .map(|_| ())
    }

    pub(crate) fn program(&mut self) -> Result<String, String> {
        let value = self.evaluate("document.querySelector('.CodeMirror').CodeMirror.getValue()")?;
        value.as_str().map(str::to_owned).ok_or_else(|| "the editor has no text".to_owned())
    }

    /// Adds a test, as by hand.
    pub(crate) fn add_test(&mut self, test: &Test<'_>) -> Result<(), String> {
        self.click("#add-test")?;
        for (class, text) in [("name", test.name), ("stdin", test.stdin), ("expected", test.expected)] {
            self.evaluate(&format!(
                "{{ const field = document.querySelector('.test:last-child .{class}');
                    field.value = {}; field.dispatchEvent(new Event('input', {{ bubbles: true }})); }}",
                json!(text)
            ))?;
        }
        Ok(())
    }

    pub(crate) fn status(&mut self) -> Result<String, String> {
        self.text("#status")
    }

    /// Runs what is there, and waits for the end of it.
    pub(crate) fn run(&mut self) -> Result<String, String> {
        self.click("#run")?;
        self.wait("!document.getElementById('run').disabled")?;
        self.status()
    }

    /// Presses a key, with the modifiers of the protocol: 1 Alt, 2 Ctrl, 8 Shift.
    pub(crate) fn press(&mut self, key: &str, code: u32, modifiers: u32) -> Result<(), String> {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers }),
            )?;
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) -> Result<(), String> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size).map(|_| ())
    }

    /// Prefers `light` or `dark`, as the system would.
    pub(crate) fn prefer(&mut self, scheme: &str) -> Result<(), String> {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &features).map(|_| ())
    }

    pub(crate) fn screenshot(&mut self, file: &Path) -> Result<(), String> {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default());
        let bytes = bytes.map_err(|error| format!("the picture is no base64: {error}"))?;
        std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    }
}
