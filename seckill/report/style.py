"""The style of the report's page: light, dark, paper and phones. The charts have c0 to c7."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5c6670;--rule:#dfe3e8;--card:#f5f7f9;
--good:#1a7f37;--bad:#c1121f;--warn:#9a6700;
--c0:#3a6ea5;--c1:#e07b00;--c2:#2e8b57;--c3:#d1495b;--c4:#2a9d9d;--c5:#8e5ea2;--c6:#8d6a52;--c7:#c9a100}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e8eaed;--dim:#9aa4ae;--rule:#2e343b;
--card:#1d2126;--good:#4cc36a;--bad:#ff6b6b;--warn:#e3b341;
--c0:#79aee0;--c1:#ffa94d;--c2:#5fcf8f;--c3:#ff8093;--c4:#5fd3d3;--c5:#c39bd9;--c6:#c4a086;--c7:#f0d050}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--dim:#444;--rule:#bbb;--card:#f3f3f3;
--good:#1a7f37;--bad:#c1121f;--warn:#7a5200;
--c0:#3a6ea5;--c1:#e07b00;--c2:#2e8b57;--c3:#d1495b;--c4:#2a9d9d;--c5:#8e5ea2;--c6:#8d6a52;--c7:#c9a100}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
section,svg,tr,.legend{break-inside:avoid}h2{break-after:avoid}.scroll{overflow:visible}}
@page{margin:14mm}
*{box-sizing:border-box}
body{margin:0 auto;max-width:860px;padding:28px 24px 48px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 8px}
p{margin:6px 0}.dim,.sub{color:var(--dim)}.sub{margin:2px 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:10px}
.card{background:var(--card);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:23px;line-height:1.2;font-variant-numeric:tabular-nums}
.card span{color:var(--dim);font-size:13px}
.card small{color:var(--dim);display:block;font-size:12px;line-height:1.35;margin-top:4px}
.narrow{display:none}a{color:var(--c0)}
@media screen and (max-width:600px){.wide{display:none}.narrow{display:block}
body{padding:20px 16px 40px}}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
svg{width:100%;height:auto;margin-top:6px}
svg text{fill:var(--dim);font-size:11.5px;font-family:inherit;font-variant-numeric:tabular-nums}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:2px 0 0;padding:0;
font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
table{margin-top:10px;border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--dim);font-weight:600;font-size:13px}
th:first-child,td:first-child,thead td{text-align:left;padding-left:0}
footer{margin-top:40px;color:var(--dim);font-size:13px}
""" + "".join(
    f".s{n}{{stroke:var(--c{n})}}.f{n}{{fill:var(--c{n});background:var(--c{n})}}" for n in range(8)
)
