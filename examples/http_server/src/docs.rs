//! `/docs`: the OpenAPI document as a page, made here, so that it needs no
//! script and nothing from elsewhere.

use std::fmt::Write;

use serde_json::Value;
use utoipa::openapi::OpenApi;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
    content='width=device-width'><title>evalx: the API</title><style>body{font:1em/1.5 system-ui,sans-serif;\
    max-width:60em;margin:2em auto;padding:0 1em;color-scheme:light dark}code{font-family:ui-monospace,\
    monospace}h2{margin-top:2em}td,th{text-align:left;vertical-align:top;padding:.1em 1em .1em 0}</style>\
    <h1>The API of evalx</h1><p>The same for programs: <a href=openapi.json>openapi.json</a>.";

/// The page of a document.
pub(crate) fn page(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = HEAD.to_owned();
    for (path, methods) in entries(&document["paths"]) {
        for (method, operation) in entries(methods) {
            line(&mut page, "h2", &format!("{} {path}", method.to_uppercase()));
            line(&mut page, "p", text(&operation["description"], &operation["summary"]));
            page.push_str("<table>");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                row(&mut page, &parameter["name"], &parameter["in"], &parameter["description"]);
            }
            for (status, response) in entries(&operation["responses"]) {
                row(&mut page, &Value::from(status.as_str()), &Value::Null, &response["description"]);
            }
            page.push_str("</table>");
        }
    }
    for (name, schema) in entries(&document["components"]["schemas"]) {
        line(&mut page, "h2", name);
        line(&mut page, "p", text(&schema["description"], &Value::Null));
        page.push_str("<table>");
        for (field, about) in entries(&schema["properties"]) {
            let kind = match &about["type"] {
                Value::Array(kinds) => {
                    let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                    Value::from(kinds.join(" or "))
                }
                kind => kind.clone(),
            };
            row(&mut page, &Value::from(field.as_str()), &kind, &about["description"]);
        }
        page.push_str("</table>");
    }
    page
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text<'v>(first: &'v Value, second: &'v Value) -> &'v str {
    first.as_str().or_else(|| second.as_str()).unwrap_or_default()
}

fn line(page: &mut String, tag: &str, text: &str) {
    // Writing to a `String` can't fail.
    let _ = write!(page, "<{tag}>{}</{tag}>", escape(text));
}

fn row(page: &mut String, name: &Value, kind: &Value, about: &Value) {
    let shown = |value: &Value| escape(value.as_str().unwrap_or_default());
    let _ = write!(page, "<tr><th><code>{}</code><td>{}<td>{}", shown(name), shown(kind), shown(about));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
