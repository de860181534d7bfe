// Times that come in after the page, in the reader's zone with UTC beside it: the same look as
// seckill/formats/times.py. A classic script, so that it runs on every page: `times` is its one global.

const times = (() => {
  const two = (n) => String(n).padStart(2, "0");
  const local = (at) => [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  const utc = (at) => at.toISOString().slice(0, 10);
  const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const utcClock = (at) => at.toISOString().slice(11, 19);

  // To the second. UTC's day only if it is another.
  function text(ms) {
    const at = new Date(ms);
    if (at.getTimezoneOffset() === 0) return `${utc(at)} ${utcClock(at)} UTC`;
    const day = utc(at) === local(at) ? "" : `${utc(at).slice(5)} `;
    return `${local(at)} ${clock(at)} (${day}${utcClock(at)} UTC)`;
  }

  // One line for a chart: the clock alone.
  function line(ms) {
    const at = new Date(ms);
    return at.getTimezoneOffset() === 0 ? `${utcClock(at)} UTC` : `${clock(at)} (${utcClock(at)} UTC)`;
  }

  return { text, line };
})();
