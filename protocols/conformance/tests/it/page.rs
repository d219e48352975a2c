//! The page "write a driver" shows the code that is compiled and tested here, all of it and nothing else.

const PAGE: &str = include_str!("../../../driver/README.md");

/// The blocks of the page that are marked with this file's name, put together.
fn on_the_page(file: &str) -> String {
    let start = format!("<!-- {file} -->\n```rust\n");
    let blocks = PAGE.split(start.as_str()).skip(1);
    let block = |rest: &str| rest.split("\n```").next().unwrap().trim().to_owned();
    blocks.map(block).collect::<Vec<_>>().join("\n")
}

/// Without blank lines at the seams, where a block begins with less indentation than it ends.
fn lines(code: &str) -> Vec<&str> {
    let lines = code.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_page_shows_the_driver_and_its_bench_as_they_are_tested() {
    for (file, code) in [
        ("file_driver.rs", include_str!("file_driver.rs")),
        ("file_bench.rs", include_str!("file_bench.rs")),
    ] {
        let page = on_the_page(file);
        for (number, (shown, compiled)) in lines(&page).iter().zip(lines(code)).enumerate() {
            assert_eq!(*shown, compiled, "{file}, line {number} without blank ones");
        }
        assert_eq!(
            lines(&page).len(),
            lines(code).len(),
            "{file} is not shown whole"
        );
    }
}

#[test]
fn the_page_names_every_rule_of_the_contract() {
    let contract = include_str!("../../../driver/src/lib.rs");
    let rules = |text: &str, mark: &dyn Fn(usize) -> String| {
        (1..=99).take_while(|n| text.contains(&mark(*n))).count()
    };
    let in_contract = rules(contract, &|n| format!("\n//! {n}. **"));
    assert_eq!(in_contract, 10);
    assert_eq!(rules(PAGE, &|n| format!("\n| {n} | ")), in_contract);
}
