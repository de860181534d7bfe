// Times of all pages in the reader's zone, with UTC beside it. A classic script, so that it runs on
// every page: `times` is its one global. Elements come from seckill/web/admin/times.py.

const times = (() => {
  const two = (n) => String(n).padStart(2, "0");
  const local = (at) => [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  const utc = (at) => at.toISOString().slice(0, 10);
  const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const utcClock = (at) => at.toISOString().slice(11, 19);

  // The day only where it is another one.
  const beside = (at) => `${utc(at) === local(at) ? "" : `${utc(at)} `}${utcClock(at)} UTC`;

  function show(element) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    if (at.getTimezoneOffset() === 0) {
      element.textContent = `${utc(at)} ${utcClock(at)} UTC`;
      return;
    }
    const small = document.createElement("small");
    small.textContent = ` ${beside(at)}`;
    element.replaceChildren(`${local(at)} ${clock(at)}`, small);
  }

  // A new element for a time in ms.
  function make(ms) {
    const element = document.createElement("time");
    element.dateTime = new Date(ms).toISOString();
    show(element);
    return element;
  }

  // One line for a chart: the clock alone.
  function line(ms) {
    const at = new Date(ms);
    return at.getTimezoneOffset() === 0 ? `${utcClock(at)} UTC` : `${clock(at)} (${utcClock(at)} UTC)`;
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const element of document.querySelectorAll("time[data-moment]")) show(element);
  });
  return { show, make, line };
})();
