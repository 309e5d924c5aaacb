//! The image of the backend `docker`, and the variable that names another.

use std::ffi::OsString;

use crate::backends::DOCKER_IMAGE;

/// The variable that names an image.
const VARIABLE: &str = "EVALX_DOCKER_IMAGE";

/// The image that `EVALX_DOCKER_IMAGE` names, else [`DOCKER_IMAGE`]. A variable
/// that is empty says nothing.
///
/// The `evalx` command and services ask for it; [`Backends`](crate::Backends)
/// takes the image that its configuration names.
///
/// ```
/// use evalx::docker::Image;
/// use evalx::{Backends, DockerConfig, docker_image};
///
/// let config = DockerConfig::new(Image::new(docker_image(), 2)).with_sessions(4);
/// let backends = Backends::default().with_docker(config);
/// ```
#[must_use]
pub fn docker_image() -> String {
    named(std::env::var_os(VARIABLE))
}

/// What is no text names no image, and the engine is to say so.
fn named(value: Option<OsString>) -> String {
    let value = value.filter(|value| !value.is_empty());
    value.map_or_else(|| DOCKER_IMAGE.to_owned(), |value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_image_can_be_named() {
        assert_eq!(named(None), DOCKER_IMAGE);
        assert_eq!(named(Some(OsString::new())), DOCKER_IMAGE);
        assert_eq!(named(Some("school/all".into())), "school/all");
    }
}
