//! The files of the page, embedded in the binary, and the headers they are sent with.
//!
//! `/` is `index.html`, and `/page/NAME` each of the others. None of them needs
//! an access token: the page asks for one itself.

/// What the browser may do for the page: load its own files, and talk to its
/// own server. Nothing that a program writes can become a script.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types evalx-modes";

/// All headers of the page's files but their type.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

/// The file at `/`.
pub(crate) const INDEX: &str = "index.html";

/// One file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    /// Its path in the folder `page`.
    pub(crate) path: &'static str,
    pub(crate) bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal)*) => {
        &[$(File { path: $path, bytes: include_bytes!(concat!("../page/", $path)) }),*]
    };
}

/// Every file, but for what is about them: licence and notes.
pub(crate) const FILES: &[File] = files! {
    "api.js"
    "app.js"
    "codemirror/closebrackets.js"
    "codemirror/codemirror.css"
    "codemirror/codemirror.js"
    "codemirror/LICENSE"
    "codemirror/matchbrackets.js"
    "codemirror/mode/clike.js"
    "codemirror/mode/go.js"
    "codemirror/mode/haskell.js"
    "codemirror/mode/javascript.js"
    "codemirror/mode/lua.js"
    "codemirror/mode/mllike.js"
    "codemirror/mode/pascal.js"
    "codemirror/mode/perl.js"
    "codemirror/mode/python.js"
    "codemirror/mode/r.js"
    "codemirror/mode/ruby.js"
    "codemirror/mode/rust.js"
    "codemirror/mode/shell.js"
    "codemirror/mode/sql.js"
    "codemirror/mode/swift.js"
    "codemirror/simple.js"
    "dom.js"
    "editor.js"
    "events.js"
    "icon.svg"
    "index.html"
    "results.js"
    "share.js"
    "style.css"
    "tests.js"
    "theme.js"
};

impl File {
    /// The file of this path in the folder `page`. Paths are names of a list,
    /// and nothing on a disk: there is nowhere to climb to.
    pub(crate) fn find(path: &str) -> Option<Self> {
        FILES.iter().copied().find(|file| file.path == path)
    }

    /// Its media type.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The paths below a folder, without what is only about them.
    fn listed(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                listed(&entry.path(), &format!("{path}/"), found);
            } else if !path.ends_with(".md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let mut found = Vec::new();
        listed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("page"), "", &mut found);
        found.sort();
        let mut embedded: Vec<_> = FILES.iter().map(|file| file.path).collect();
        embedded.sort_unstable();
        assert_eq!(embedded, found);
    }

    #[test]
    fn whatever_the_page_asks_for_is_there() {
        for file in FILES.iter().filter(|file| file.path.ends_with(".html")) {
            let text = str::from_utf8(file.bytes).unwrap();
            for rest in text.split("\"page/").skip(1) {
                let path = rest.split('"').next().unwrap();
                assert!(File::find(path).is_some(), "{} asks for {path}", file.path);
            }
        }
        assert_eq!(File::find(INDEX).map(|file| file.content_type()), Some("text/html; charset=utf-8"));
        assert!(File::find("../Cargo.toml").is_none());
    }

    /// The policy refuses them, so that one would not work, and break nothing but itself.
    #[test]
    fn there_is_no_script_and_no_style_within_the_page() {
        let text = str::from_utf8(File::find(INDEX).unwrap().bytes).unwrap();
        assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="));
        assert_eq!(text.matches("<script").count(), text.matches("<script src=").count());
        // Our own scripts make nothing of text but text.
        for file in
            FILES.iter().filter(|file| file.path.ends_with(".js") && !file.path.starts_with("codemirror/"))
        {
            let text = str::from_utf8(file.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text.contains(word), "{}: {word}", file.path);
            }
        }
    }
}
