//! Which rules and which parsers a language has.

use crate::parse::Parsers;

/// A language as this crate knows it.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The id that `evalx-core` gives it.
    pub(crate) id: &'static str,
    pub(crate) aliases: &'static [&'static str],
    /// The folders of its rules and words, its own first.
    pub(crate) folders: &'static [&'static str],
    pub(crate) parsers: Parsers,
}

const fn profile(
    id: &'static str,
    aliases: &'static [&'static str],
    folders: &'static [&'static str],
    parsers: Parsers,
) -> Profile {
    Profile { id, aliases, folders, parsers }
}

/// Every language that has rules of its own.
pub(crate) const PROFILES: &[Profile] = &[
    profile("c", &["gcc", "clang", "c_clang"], &["c", "native", "any"], Parsers::C),
    profile(
        "cpp",
        &["c++", "g++", "cxx", "clangpp", "clang++", "cpp_clang"],
        &["cpp", "c", "native", "any"],
        Parsers::C,
    ),
    profile("objective_c", &["objc"], &["c", "native", "any"], Parsers::C),
    profile(
        "python",
        &["python3", "py", "cpython", "python2", "pypy", "pypy3"],
        &["python", "any"],
        Parsers::Python,
    ),
    profile("java", &["openjdk"], &["java", "jvm", "any"], Parsers::Java),
    profile("kotlin", &["kt"], &["kotlin", "jvm", "any"], Parsers::Kotlin),
    profile("javascript", &["js", "node", "nodejs"], &["javascript", "any"], Parsers::Node),
    profile("typescript", &["ts", "tsc"], &["typescript", "javascript", "any"], Parsers::TypeScript),
    profile("rust", &["rs", "rustc"], &["rust", "native", "any"], Parsers::Rust),
    profile("go", &["golang"], &["go", "any"], Parsers::Go),
    profile("ruby", &["rb"], &["ruby", "any"], Parsers::Ruby),
    profile("php", &[], &["php", "any"], Parsers::Php),
    profile("bash", &["sh", "shell"], &["bash", "any"], Parsers::Bash),
    profile("haskell", &["ghc", "hs"], &["haskell", "any"], Parsers::Haskell),
    profile("csharp", &["c#", "cs", "mono", "dotnet"], &["csharp", "any"], Parsers::CSharp),
    profile("swift", &[], &["swift", "native", "any"], Parsers::Swift),
    profile("perl", &["pl"], &["perl", "any"], Parsers::Perl),
    profile("lua", &[], &["lua", "any"], Parsers::Lua),
];

/// What is known of any other language: the supervisor's facts.
pub(crate) const UNKNOWN: Profile = profile("", &[], &["any"], Parsers::Generic);

/// The language of this id or alias.
pub(crate) fn find(name: &str) -> Option<usize> {
    PROFILES.iter().position(|profile| {
        profile.id.eq_ignore_ascii_case(name)
            || profile.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    })
}
