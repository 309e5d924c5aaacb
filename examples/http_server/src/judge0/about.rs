//! What Judge0 says of itself.

use std::collections::BTreeMap;
use std::fs;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use evalx_service::judge0::{STATUSES, status};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::request::{counts, times};
use super::{Authorized, Client, Flavour};
use crate::app::App;

/// `POST /authenticate`
pub(super) async fn authenticate(_: Client) -> StatusCode {
    StatusCode::OK
}

/// `POST /authorize`
pub(super) async fn authorize(_: Client, _: Authorized) -> StatusCode {
    StatusCode::OK
}

/// `GET /languages`
pub(super) async fn languages(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    _: Client,
) -> Json<Vec<Value>> {
    // What can't be run here is not known before the engine has started.
    app.available().await;
    let mut known: Vec<_> =
        flavour.table().iter().filter(|(id, _)| flavour.language(&app, *id).is_some()).collect();
    known.sort_by_key(|(_, name)| *name);
    Json(known.into_iter().map(|(id, name)| json!({ "id": id, "name": name })).collect())
}

/// `GET /languages/all`
pub(super) async fn all_languages(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    _: Client,
) -> Json<Vec<Value>> {
    app.available().await;
    let all = flavour.table().iter().chain(flavour.archived());
    Json(
        all.map(|(id, name)| {
            json!({ "id": id, "name": name, "is_archived": flavour.language(&app, *id).is_none() })
        })
        .collect(),
    )
}

/// `GET /languages/:id`
pub(super) async fn language(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    _: Client,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let id: u32 = id.parse().map_err(|_| Refusal::NotFound)?;
    let name = flavour.name(id).ok_or(Refusal::NotFound)?;
    let language = flavour.language(&app, id);
    let shown = language.as_ref().filter(|language| language.id != "multi_file");
    let command = |argv: &[String]| (!argv.is_empty()).then(|| argv.join(" "));
    Ok(Json(json!({
        "id": id,
        "name": name,
        "is_archived": language.is_none(),
        "source_file": shown.map(|language| language.source.as_str()),
        "compile_cmd": shown.and_then(|language| command(&language.compile)),
        "run_cmd": shown.and_then(|language| command(&language.run)),
    })))
}

/// `GET /statuses`
pub(super) async fn statuses(_: Client) -> Json<Vec<Value>> {
    Json((1..=STATUSES.len()).map(status).collect())
}

/// `GET /config_info`: all 39 keys, since the official client has no defaults.
pub(super) async fn config_info(State(app): State<App>, _: Client) -> Json<Value> {
    let mut config = Map::new();
    for (name, range) in times(&app) {
        config.insert(name.to_owned(), json!(range.default));
        config.insert(format!("max_{name}"), json!(range.most));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are whole and small")]
    for (name, range) in counts(&app) {
        config.insert(name.to_owned(), json!(range.default as u64));
        config.insert(format!("max_{name}"), json!(range.most as u64));
    }
    for (name, value) in [
        ("maintenance_mode", json!(false)),
        ("enable_wait_result", json!(true)),
        ("enable_compiler_options", json!(true)),
        ("allowed_languages_for_compile_options", json!([])),
        ("enable_command_line_arguments", json!(true)),
        ("enable_submission_delete", json!(app.access.has_operators())),
        ("enable_callbacks", json!(true)),
        ("callbacks_max_tries", json!(3)),
        ("callbacks_timeout", json!(5.0)),
        ("enable_additional_files", json!(true)),
        ("max_queue_size", json!(app.service.queues().submissions.config().max_depth)),
        ("enable_per_process_and_thread_time_limit", json!(false)),
        ("allow_enable_per_process_and_thread_time_limit", json!(true)),
        ("enable_per_process_and_thread_memory_limit", json!(false)),
        ("allow_enable_per_process_and_thread_memory_limit", json!(true)),
        ("redirect_stderr_to_stdout", json!(false)),
        ("max_extract_size", json!(10_240)),
        ("enable_batched_submissions", json!(true)),
        ("max_submission_batch_size", json!(app.judge0.max_submission_batch_size)),
        ("submission_cache_duration", json!(1.0)),
        ("use_docs_as_homepage", json!(false)),
        ("allow_enable_network", json!(false)),
        ("enable_network", json!(false)),
    ] {
        config.insert(name.to_owned(), value);
    }
    Json(Value::Object(config))
}

/// `GET /system_info`: what `lscpu` and `free` would say, as texts.
pub(super) async fn system_info(_: Client) -> Json<BTreeMap<String, String>> {
    let mut info = BTreeMap::from([("Architecture".to_owned(), std::env::consts::ARCH.to_owned())]);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    info.insert("CPU(s)".to_owned(), processors.to_string());
    let lines = |path: &str| fs::read_to_string(path).unwrap_or_default();
    for line in lines("/proc/cpuinfo").lines() {
        if let Some((_, model)) = line.split_once(':').filter(|(name, _)| name.trim() == "model name") {
            info.insert("Model name".to_owned(), model.trim().to_owned());
        }
    }
    for (label, name) in [("Mem", "MemTotal"), ("Swap", "SwapTotal")] {
        for line in lines("/proc/meminfo").lines() {
            if let Some((_, size)) = line.split_once(':').filter(|(found, _)| *found == name) {
                info.insert(label.to_owned(), size.trim().to_owned());
            }
        }
    }
    Json(info)
}

/// `GET /workers`
pub(super) async fn workers(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    _: Client,
) -> Result<Json<Value>, Refusal> {
    let stats = app.service.stats().await?;
    let all = (std::thread::available_parallelism().map_or(1, usize::from) as u64).max(stats.active);
    Ok(Json(json!([{
        "queue": version_of(&app, flavour),
        "size": stats.depth(),
        "available": all,
        "idle": all - stats.active,
        "working": stats.active,
        "paused": 0,
        "failed": stats.dead,
    }])))
}

fn version_of(app: &App, flavour: Flavour) -> String {
    match flavour {
        Flavour::Ce => app.judge0_version.clone(),
        Flavour::Extra => format!("{}-extra", app.judge0_version),
    }
}

/// `GET /about`
pub(super) async fn about(State(app): State<App>, Extension(flavour): Extension<Flavour>) -> Json<Value> {
    Json(json!({
        "version": version_of(&app, flavour),
        "homepage": env!("CARGO_PKG_REPOSITORY"),
        "source_code": env!("CARGO_PKG_REPOSITORY"),
        "maintainer": "evalx",
    }))
}

/// `GET /version`
pub(super) async fn version(State(app): State<App>, Extension(flavour): Extension<Flavour>) -> String {
    version_of(&app, flavour)
}

/// `GET /isolate`: what programs run in.
pub(super) async fn isolate(State(app): State<App>) -> String {
    app.engine().map_or_else(|| "elsewhere\n".to_owned(), |engine| format!("{}\n", engine.sandbox()))
}
