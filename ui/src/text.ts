/** Text as programs write it, for where it is shown plainly. */

const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;

/** Without the escape sequences of terminals. */
export function plainText(text: string): string {
  return text.replace(ESCAPES, "");
}
