//! [`Category`]: the kinds of mistake that a hint can name.

use std::fmt;

/// One kind of mistake, known by its slug: `undefined-name`.
///
/// The slugs are stable: hosts store them, count them and link to their pages.
///
/// ```
/// use evalx_hints::Category;
///
/// let category = Category::named("undefined-name").ok_or("no such category")?;
/// assert_eq!(category.group, "Names, imports, linking");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Category {
    /// The name: lower case, words joined by hyphens.
    pub slug: &'static str,
    /// The family it belongs to.
    pub group: &'static str,
    /// What it means, in one line.
    pub meaning: &'static str,
}

impl Category {
    /// Every category, in the order of the pages.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        ALL
    }

    /// The category of this slug.
    #[must_use]
    pub fn named(slug: &str) -> Option<&'static Self> {
        ALL.iter().find(|category| category.slug == slug)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug)
    }
}

const SYNTAX: &str = "Syntax";
const NAMES: &str = "Names, imports, linking";
const TYPES: &str = "Types and semantics";
const RUN: &str = "Run time";

const fn category(group: &'static str, slug: &'static str, meaning: &'static str) -> Category {
    Category { slug, group, meaning }
}

const ALL: &[Category] = &[
    category(SYNTAX, "syntax-missing-semicolon", "a statement lacks its terminating semicolon"),
    category(
        SYNTAX,
        "syntax-unbalanced-bracket",
        "a parenthesis, bracket or brace is missing, extra or mismatched",
    ),
    category(
        SYNTAX,
        "syntax-unterminated-literal",
        "a string, character, template or comment is not closed, or a character literal is malformed",
    ),
    category(SYNTAX, "syntax-missing-colon", "a block header lacks its colon"),
    category(SYNTAX, "syntax-indentation", "indentation is missing, unexpected or inconsistent"),
    category(
        SYNTAX,
        "syntax-assignment-vs-comparison",
        "= was used where a comparison is needed (or the reverse)",
    ),
    category(
        SYNTAX,
        "syntax-keyword-misuse",
        "a keyword is misspelled, misplaced (else without if) or used as a name",
    ),
    category(
        SYNTAX,
        "syntax-foreign-construct",
        "a construct of another language or version (print statement, ++ in Python, && in Python, := misuse)",
    ),
    category(
        SYNTAX,
        "syntax-invalid-token",
        "a character or token that cannot appear there: stray symbol, curly quotes, malformed number",
    ),
    category(
        SYNTAX,
        "syntax-misplaced-statement",
        "a statement in a place it may not appear: return outside a function, break outside a loop, code outside a class",
    ),
    category(
        SYNTAX,
        "syntax-invalid-assignment",
        "the left side of an assignment is not something that can be assigned to",
    ),
    category(SYNTAX, "syntax-other", "any other violation of the grammar"),
    category(
        NAMES,
        "undefined-name",
        "a variable or function is used that was never declared (or is misspelled)",
    ),
    category(NAMES, "unknown-type", "a type name is not known"),
    category(NAMES, "missing-import", "a library name is used without its import/include/using"),
    category(
        NAMES,
        "missing-module",
        "the imported module, package or header does not exist or is not installed",
    ),
    category(NAMES, "module-shadowing", "the learner's own file hides a library module of the same name"),
    category(
        NAMES,
        "unknown-member",
        "the attribute, method, field or property does not exist on that value",
    ),
    category(NAMES, "duplicate-definition", "the same name is declared or defined twice"),
    category(
        NAMES,
        "link-undefined-reference",
        "the linker found no definition for a declared function or variable",
    ),
    category(
        NAMES,
        "missing-main",
        "the program entry point is missing, misspelled or has the wrong signature",
    ),
    category(NAMES, "file-name-mismatch", "file name and class name do not agree"),
    category(NAMES, "access-denied", "a private, protected or unexported member is used from outside"),
    category(NAMES, "use-before-assignment", "a variable is read before it has a value"),
    category(NAMES, "unused-declared", "an unused variable or import that the language treats as an error"),
    category(NAMES, "static-context", "an instance member is used without an object"),
    category(
        TYPES,
        "type-mismatch",
        "a value of one type is given where another is required (assignment, return, condition)",
    ),
    category(TYPES, "operator-type-mismatch", "an operator is applied to values it does not support"),
    category(TYPES, "lossy-conversion", "a conversion would lose information or overflow the target type"),
    category(TYPES, "wrong-argument-count", "a function is called with too many or too few arguments"),
    category(TYPES, "wrong-argument-type", "an argument's type does not fit the parameter"),
    category(TYPES, "missing-return", "a function that must return a value can end without doing so"),
    category(TYPES, "unreachable-code", "code that can never run"),
    category(TYPES, "not-callable", "something that is not a function is called"),
    category(TYPES, "not-subscriptable", "indexing with [] a value that cannot be indexed"),
    category(TYPES, "not-iterable", "looping over or spreading a value that is not iterable"),
    category(TYPES, "null-dereference", "using a member of null, None, nil or undefined"),
    category(TYPES, "assign-to-constant", "changing a constant, final or immutable value"),
    category(TYPES, "unhandled-checked-exception", "a checked exception is neither caught nor declared"),
    category(
        TYPES,
        "incomplete-implementation",
        "a class or type lacks methods its interface, base class or trait requires",
    ),
    category(TYPES, "trait-not-satisfied", "a type lacks a trait, interface or constraint that is required"),
    category(TYPES, "type-annotation-needed", "the compiler cannot infer a type"),
    category(
        TYPES,
        "template-instantiation",
        "an error deep inside a template, caused by the type it was used with",
    ),
    category(TYPES, "format-mismatch", "a format string and its values disagree"),
    category(TYPES, "non-exhaustive-match", "a match/switch does not handle all cases"),
    category(TYPES, "borrow-moved-value", "a value is used after it was moved"),
    category(TYPES, "borrow-conflict", "conflicting borrows of one value"),
    category(TYPES, "lifetime", "a reference outlives the data it points to, or lacks a lifetime"),
    category(RUN, "index-out-of-range", "an index beyond the ends of a list, array or string"),
    category(RUN, "key-not-found", "a dictionary or map has no such key"),
    category(RUN, "division-by-zero", "division or remainder by zero"),
    category(RUN, "invalid-conversion", "text that cannot be converted to a number (or other type)"),
    category(RUN, "invalid-value", "a value of the right type that the operation does not accept"),
    category(RUN, "input-eof", "the program reads more input than it was given"),
    category(RUN, "segfault", "invalid memory access (SIGSEGV, SIGBUS, invalid pointer)"),
    category(
        RUN,
        "buffer-overflow",
        "writing or reading past the end of an array or buffer, detected by a checker",
    ),
    category(RUN, "heap-misuse", "double free, invalid free or use after free"),
    category(RUN, "memory-leak", "allocated memory is never released"),
    category(RUN, "stack-overflow", "recursion without end exhausts the stack"),
    category(RUN, "out-of-memory", "the program needs more memory than allowed"),
    category(RUN, "time-limit", "the program ran longer than allowed"),
    category(
        RUN,
        "undefined-behavior",
        "an operation whose result the language leaves undefined, reported by a checker",
    ),
    category(RUN, "integer-overflow", "an arithmetic result does not fit its type"),
    category(RUN, "assertion-failed", "an assertion in the program was false"),
    category(RUN, "uncaught-exception", "an exception or panic, often user-defined, was not handled"),
    category(RUN, "unhandled-promise-rejection", "a promise failed and nothing handled it"),
    category(RUN, "unwrap-on-none", "a value was demanded from an empty option or failed result"),
    category(RUN, "bad-cast", "a value is cast to a type it does not have"),
    category(RUN, "concurrent-modification", "a collection is changed while it is being looped over"),
    category(RUN, "deadlock", "every thread of work waits for another"),
    category(RUN, "file-not-found", "a file that the program opens does not exist"),
    category(RUN, "permission-denied", "the program may not access that file or resource"),
    category(RUN, "encoding-error", "bytes or text that do not fit the encoding"),
    category(RUN, "command-not-found", "a shell command does not exist"),
    category(
        RUN,
        "killed-by-signal",
        "the program ended by another signal (abort, illegal instruction, kill)",
    ),
    category(RUN, "nonzero-exit", "the program chose a failing exit status without an error report"),
];
