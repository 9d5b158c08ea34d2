// Renders formulas for katex_math.py: one JSON object a line comes in, one goes out.
const katex = require(process.argv[2]);
const lines = require("node:readline").createInterface({ input: process.stdin });

lines.on("line", (line) => {
  const { tex, display } = JSON.parse(line);
  const problems = [];
  const strict = (code, message) => (problems.push(`KaTeX: ${message} [${code}]`), "ignore");
  let html = "";
  try {
    html = katex.renderToString(tex, { displayMode: display, strict });
  } catch (error) {
    problems.push(error.message);
  }
  process.stdout.write(JSON.stringify({ html, problems }) + "\n");
});
