// What unfold leaves to the mouse and to the eye: elements that only answer to a click become buttons
// that can be reached, named and pressed; links and buttons that are only an icon get a name; the
// page has a main part, and a way past the menu to it. axe-core looks at each page in tests/browser.

// What an icon that stands alone does, by the page's language.
const NAMES = {
  en: {
    dock_to_right: "Menu", close: "Close", unfold_more: "More", expand_more: "More", more_horiz: "More",
    more_vert: "More", filter_list: "Filters", search: "Search", bolt: "Overview", arrow_back: "Go back",
    light_mode: "Light or dark", dark_mode: "Light or dark", tonality: "Light or dark", computer: "Light or dark",
  },
  "zh-hans": {
    dock_to_right: "菜单", close: "关闭", unfold_more: "更多", expand_more: "更多", more_horiz: "更多",
    more_vert: "更多", filter_list: "筛选", search: "搜索", bolt: "概览", arrow_back: "返回",
    light_mode: "浅色或深色", dark_mode: "浅色或深色", tonality: "浅色或深色", computer: "浅色或深色",
  },
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
  const iconOf = (element) => element.textContent.trim();
  for (const element of document.querySelectorAll("[x-on\\:click]")) {
    if (element.matches("button, input, select, textarea, a[href], [type=hidden]")) continue;
    // A frame around controls that are reached by themselves.
    if (element.querySelector("a[href], button, input, select")) continue;
    element.setAttribute("role", "button");
    element.tabIndex = 0;
    element.addEventListener("keydown", press);
    if (element.matches(ICON)) element.setAttribute("aria-label", NAMES[language][iconOf(element)] || iconOf(element));
  }
  // An icon is the name of a glyph as text: not to be read out. What holds nothing else needs a name.
  for (const icon of document.querySelectorAll(ICON)) {
    if (icon.hasAttribute("aria-label")) continue;
    icon.setAttribute("aria-hidden", "true");
    const control = icon.closest("a, button, [role=button]");
    if (!control || control.hasAttribute("aria-label")) continue;
    const words = control.cloneNode(true);
    for (const inner of words.querySelectorAll(ICON)) inner.remove();
    const name = NAMES[language][iconOf(icon)] || control.title || iconOf(icon);
    if (!words.textContent.trim()) control.setAttribute("aria-label", name);
  }
  if (!document.querySelector("main, [role=main]")) {
    (document.getElementById("main") || document.getElementById("page"))?.setAttribute("role", "main");
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

// Django's hints beside a choice of two lists, which other scripts make once all is loaded.
window.addEventListener("load", () => setTimeout(() => {
  for (const hint of document.querySelectorAll("span[aria-label]:not([role])")) hint.setAttribute("role", "img");
}));
