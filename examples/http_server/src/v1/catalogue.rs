//! What this server offers: languages and limits.

use axum::Json;
use axum::extract::State;
use evalx_core::{ByteSize, Limits, Toolchain};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::request::default_limits;
use crate::access::Tenant;
use crate::app::App;
use crate::problem::Problem;

/// A language.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LanguageDocument {
    /// What it is asked for by.
    id: String,
    /// Its name as people write it.
    name: String,
    /// Other names that are understood.
    aliases: Vec<String>,
    /// Whether its toolchain is there. A server without workers of its own can't know, and says yes.
    available: bool,
    /// The version of the toolchain.
    version: Option<String>,
    /// What its main source file is called.
    source: String,
    /// Whether it is compiled.
    compiled: bool,
    /// Its ids in Judge0.
    judge0_ids: Vec<u32>,
    /// A program that prints `Hello, world!`.
    hello: String,
}

/// The languages that are known.
#[utoipa::path(get, path = "/v1/languages", tag = "catalogue",
    responses((status = 200, body = Vec<LanguageDocument>, description = "Available or not."),
              (status = 401, body = Problem, description = "A token is needed.", content_type = "application/problem+json")))]
pub(crate) async fn languages(State(app): State<App>, _: Tenant) -> Json<Vec<LanguageDocument>> {
    let available = app.available().await;
    let document = |language: &evalx_core::Language| LanguageDocument {
        id: language.id.clone(),
        name: language.name.clone(),
        aliases: language.aliases.clone(),
        available: available.as_ref().is_none_or(|ids| ids.contains(&language.id)),
        version: app
            .engine()
            .and_then(|engine| engine.toolchains().get(&language.id).and_then(Toolchain::version))
            .map(str::to_owned),
        source: language.source.as_str().to_owned(),
        compiled: language.is_compiled(),
        judge0_ids: language.judge0.clone(),
        hello: language.hello.clone(),
    };
    Json(app.languages.iter().map(|language| document(language)).collect())
}

/// The limits: what a submission gets that says nothing, and the most it may ask for.
#[utoipa::path(get, path = "/v1/config", tag = "catalogue",
    responses((status = 200, body = Object, description = "Defaults and maxima."),
              (status = 401, body = Problem, description = "A token is needed.", content_type = "application/problem+json")))]
pub(crate) async fn config(State(app): State<App>, _: Tenant) -> Json<Value> {
    let caps = &app.caps;
    let Limits { cpu_time, wall_time, memory, stack, processes, output, disk, .. } = default_limits(caps);
    let seconds = |default: std::time::Duration, max: std::time::Duration| json!({ "default": default.as_secs_f64(), "max": max.as_secs_f64() });
    let bytes =
        |default: ByteSize, max: ByteSize| json!({ "default": default.as_u64(), "max": max.as_u64() });
    Json(json!({
        "limits": {
            "cpu_seconds": seconds(cpu_time, caps.max_cpu),
            "wall_seconds": seconds(wall_time, caps.max_wall),
            "memory_bytes": bytes(memory, caps.max_memory),
            "stack_bytes": bytes(stack, caps.max_stack),
            "processes": { "default": processes, "max": caps.max_processes },
            "output_bytes": bytes(output, caps.max_output),
            "disk_bytes": bytes(disk, caps.max_disk),
        },
        "max_tests": caps.max_tests,
        "max_batch": caps.max_batch,
        "max_body_bytes": caps.max_body.as_u64(),
        "max_wait_seconds": caps.max_wait.as_secs_f64(),
    }))
}
