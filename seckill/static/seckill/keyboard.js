// What unfold leaves to the mouse, for the keyboard: elements that only answer to a click become
// buttons that can be reached, named and pressed. And a way past the menu to the page itself.

// What an icon that stands alone does, by the page's language.
const NAMES = {
  en: { dock_to_right: "Menu", close: "Close", unfold_more: "More", expand_more: "More", filter_list: "Filters" },
  "zh-hans": { dock_to_right: "菜单", close: "关闭", unfold_more: "更多", expand_more: "更多", filter_list: "筛选" },
};
const ICON = ".material-symbols-outlined";
const SKIP = { en: "Skip to the content", "zh-hans": "跳到正文" };

function press(event) {
  // Keys that were meant for something inside are not ours.
  if (event.target !== event.currentTarget || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  event.currentTarget.click();
}

// Neither is used, and the content security policy forbids both.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;

document.addEventListener("DOMContentLoaded", () => {
  const language = document.documentElement.lang in NAMES ? document.documentElement.lang : "en";
  for (const element of document.querySelectorAll("[x-on\\:click]")) {
    if (element.matches("button, input, select, textarea, a[href], [type=hidden]")) continue;
    element.setAttribute("role", "button");
    element.tabIndex = 0;
    element.addEventListener("keydown", press);
    const icon = element.textContent.trim();
    if (element.matches(ICON)) element.setAttribute("aria-label", NAMES[language][icon] || icon);
  }
  // An icon is the name of a glyph as text: not to be read out.
  for (const icon of document.querySelectorAll(ICON)) {
    if (!icon.hasAttribute("aria-label")) icon.setAttribute("aria-hidden", "true");
  }
  const content = document.getElementById("content");
  if (content) {
    content.tabIndex = -1;
    const skip = document.createElement("a");
    skip.href = "#content";
    skip.className = "skip";
    skip.textContent = SKIP[language];
    document.body.prepend(skip);
  }
});
