//! The commands for Helm that the documentation has, word for word: what is tested is what people type. Must not know
//! what a command is for.

use cataloger_tests::script::repository;

/// What stands in place of the names that people choose.
pub(crate) struct Names<'a> {
    pub(crate) release: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) chart: &'a str,
}

/// The arguments of the command that begins so, of a page of `docs`; without what it sets, which is everybody's own.
pub(crate) fn documented(page: &str, begins: &str, names: &Names<'_>) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("docs").join(page)).unwrap();
    // A command may go on in the next line.
    let text = text.replace("\\\n", " ");
    let mut lines = text.lines().filter(|line| line.starts_with(begins));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("docs/{page} has no {begins}"));
    let mut words = line.split_whitespace().skip(1);
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        let own = match word {
            "--set" => {
                words.next();
                continue;
            }
            "cataloger" => names.release,
            "cataloger-system" => names.namespace,
            "charts/cataloger" => names.chart,
            other => other,
        };
        arguments.push(own.to_owned());
    }
    arguments
}

#[test]
fn they_are_read_as_a_shell_reads_them() {
    let names = Names {
        release: "docs",
        namespace: "system",
        chart: "./chart",
    };
    let install = documented("install.md", "helm install cataloger ", &names);
    assert_eq!(
        install,
        ["install", "docs", "./chart", "--namespace", "system", "--wait"]
    );
    let upgrade = |page| documented(page, "helm upgrade cataloger ", &names);
    assert_eq!(upgrade("upgrade.md"), upgrade("install.md"));
}
