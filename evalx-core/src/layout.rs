//! [`Layout`]: where a program's files lie in the work folder.

use std::collections::HashSet;

use bytes::Bytes;

use crate::java::JavaFile;
use crate::template::{self, Template};
use crate::{
    EntryPoint, Error, ErrorKind, FileContents, Language, Limits, Result, SandboxPath, SourceCode, SourceFile,
};

/// A program's files with their names, which the language may decide.
#[derive(Debug)]
pub(crate) struct Layout {
    /// All files, the main source file first.
    pub(crate) files: Vec<(SandboxPath, Bytes)>,
    /// The paths of the sources, the main one first.
    sources: Vec<String>,
    main_class: String,
}

impl Layout {
    /// Names the files of `code`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if there is no file, a second file has no name, or two
    /// have the same.
    pub(crate) fn new(language: &Language, code: &SourceCode) -> Result<Self> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidRequest, why));
        let Some((main, others)) = code.files.split_first() else {
            return refuse("the program has no source file".to_owned());
        };
        let entry = match language.entry_point {
            EntryPoint::Fixed => JavaFile::default(),
            EntryPoint::Java => JavaFile::read(&main.contents),
        };
        let main_path = match (&main.path, &entry.file_class) {
            (Some(path), _) => path.clone(),
            // A class's name that is no file's name won't compile; the compiler says so best.
            (None, Some(class)) => {
                SandboxPath::new(format!("{class}.java")).unwrap_or_else(|_| language.source.clone())
            }
            (None, None) => language.source.clone(),
        };
        let main_contents = match language.prefix.as_str() {
            "" => main.contents.clone(),
            prefix => [prefix.as_bytes(), &main.contents].concat().into(),
        };

        let mut names = HashSet::from([main_path.clone()]);
        let mut files = vec![(main_path, main_contents)];
        for file in others {
            let Some(path) = &file.path else {
                return refuse("only the main source file may be without a name".to_owned());
            };
            if !names.insert(path.clone()) {
                return refuse(format!("two files of the program are called `{path}`"));
            }
            files.push((path.clone(), file.contents.clone()));
        }
        if let Some(folder) = &language.folder {
            for (path, _) in &mut files {
                *path = SandboxPath::new(format!("{folder}/{path}"))?;
            }
        }

        let main_path = files[0].0.as_str();
        let main_class = entry
            .qualified_main()
            .or_else(|| others.iter().find_map(|file| main_class_of(language, file)))
            .unwrap_or_else(|| template::stem(main_path).to_owned());
        let sources = files
            .iter()
            .enumerate()
            .filter(|(index, (path, _))| *index == 0 || language.is_source(path))
            .map(|(_, (path, _))| path.to_string())
            .collect();
        Ok(Self { files, sources, main_class })
    }

    /// The main source file's path.
    pub(crate) fn main_path(&self) -> &SandboxPath {
        &self.files[0].0
    }

    /// The main source file's text.
    pub(crate) fn main_contents(&self) -> &Bytes {
        &self.files[0].1
    }

    /// What the placeholders of the language's argvs stand for.
    pub(crate) fn template<'a>(
        &'a self,
        language: &'a Language,
        options: &'a [String],
        arguments: &'a [String],
        limits: &'a Limits,
    ) -> Template<'a> {
        Template {
            source: self.main_path().as_str(),
            sources: &self.sources,
            output: language.output.as_ref().map_or("", SandboxPath::as_str),
            main_class: &self.main_class,
            options,
            arguments,
            limits,
        }
    }

    /// What a session of the program finds: its artifact and the files that
    /// are no sources, or all files if nothing was compiled.
    pub(crate) fn placed(
        &self,
        language: &Language,
        artifact: Option<FileContents>,
    ) -> Vec<(SandboxPath, FileContents)> {
        let files = self.files.iter().enumerate();
        let Some((output, artifact)) = language.output.clone().zip(artifact) else {
            return files
                .map(|(index, (path, contents))| {
                    let executable = index == 0 && language.runs_source();
                    (path.clone(), FileContents::Bytes { contents: contents.clone(), executable })
                })
                .collect();
        };
        // A folder of its own is kept whole, with what lies in it.
        let beside = files.filter(|(index, (path, _))| {
            language.folder.is_none() && *index != 0 && !language.is_source(path) && *path != output
        });
        let beside = beside.map(|(_, (path, contents))| (path.clone(), FileContents::data(contents.clone())));
        std::iter::once((output.clone(), artifact)).chain(beside).collect()
    }
}

fn main_class_of(language: &Language, file: &SourceFile) -> Option<String> {
    let is_java = language.entry_point == EntryPoint::Java && language.is_source(file.path.as_ref()?);
    is_java.then(|| JavaFile::read(&file.contents).qualified_main())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Languages;

    fn layout(language: &str, code: &SourceCode) -> Layout {
        Layout::new(Languages::builtin().get(language).unwrap(), code).unwrap()
    }

    fn file(path: &str, text: &'static str) -> SourceFile {
        SourceFile::new(SandboxPath::new(path).unwrap(), text)
    }

    fn run(language: &str, code: &SourceCode) -> Vec<String> {
        let languages = Languages::builtin();
        let language = languages.get(language).unwrap();
        let layout = Layout::new(language, code).unwrap();
        language.expand(&language.run, &layout.template(language, &[], &[], &Limits::default()))
    }

    #[test]
    fn java_names_its_file_and_its_main_class() {
        let code =
            SourceCode::new("java", "package a; public class B { public static void main(String[] x) {} }");
        assert_eq!(layout("java", &code).main_path().as_str(), "B.java");
        assert!(run("java", &code).ends_with(&["classes".to_owned(), "a.B".to_owned()]));

        let code = SourceCode::new("java", "public class Util {}")
            .with_file(file("App.java", "class App { public static void main(String[] x) {} }"));
        assert_eq!(run("java", &code).last().unwrap(), "App");
        assert_eq!(run("java", &SourceCode::new("java", "nonsense")).last().unwrap(), "Main");
    }

    #[test]
    fn sources_are_compiled_and_data_is_placed() {
        let languages = Languages::builtin();
        let c = languages.get("c").unwrap();
        let code = SourceCode::new("c", "").with_file(file("util.c", "")).with_file(file("data/a.txt", "1"));
        let layout = Layout::new(c, &code).unwrap();
        assert_eq!(layout.sources, ["main.c", "util.c"]);
        let placed = layout.placed(c, Some(FileContents::executable("elf")));
        let paths: Vec<_> = placed.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["main", "data/a.txt"]);
    }

    #[test]
    fn the_particular_ones() {
        let erlang = layout("erlang", &SourceCode::new("erlang", "main(_) -> ok."));
        assert_eq!(erlang.main_contents(), "\nmain(_) -> ok.");
        let multi =
            layout("multi_file", &SourceCode::from_files("multi_file", [file("run", ""), file("x/y", "")]));
        assert_eq!(multi.files[1].0.as_str(), "project/x/y");
        let code = SourceCode::new("executable", "\x7fELF");
        let languages = Languages::builtin();
        let placed = layout("executable", &code).placed(languages.get("executable").unwrap(), None);
        assert!(matches!(placed[0].1, FileContents::Bytes { executable: true, .. }));
    }

    #[test]
    fn files_need_names_of_their_own() {
        let languages = Languages::builtin();
        let c = languages.get("c").unwrap();
        for code in [
            SourceCode::from_files("c", []),
            SourceCode::new("c", "").with_file(SourceFile::main("")),
            SourceCode::new("c", "").with_file(file("main.c", "")),
        ] {
            assert_eq!(Layout::new(c, &code).unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }
}
