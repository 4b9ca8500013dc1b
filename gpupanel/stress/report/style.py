"""The style sheet of a report: light and dark as the reader's system says, and print."""

STYLE = """
:root{color-scheme:light dark;--bg:#f4f5f7;--card:#fff;--text:#1a1d21;--soft:#5c6570;--line:#dfe3e8;
--a:#1f6feb;--b:#d9822b;--c:#8250df;--d:#6e7781;--ok:#1a7f37;--warn:#9a6700;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--bg:#0f1215;--card:#181c21;--text:#e6e9ed;--soft:#9aa4af;
--line:#2b3138;--a:#58a6ff;--b:#f0a355;--c:#bc8cff;--d:#8b949e;--ok:#3fb950;--warn:#d29922;
--bad:#f85149}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:40px 24px}
header p{margin:0;color:var(--soft)}.kicker{font-size:13px}h1{font-size:30px;margin:2px 0 6px}
h2{font-size:18px;margin:0 0 8px}h3{font-size:14px;margin:0 0 4px}
.verdict{margin:24px 0;padding:18px 22px;border-radius:10px;background:var(--card);
border-left:6px solid var(--ok)}.verdict h2{color:var(--ok);font-size:22px;margin:0}
.verdict.unsteady,.verdict.incomplete{border-color:var(--warn)}
.verdict.unsteady h2,.verdict.incomplete h2{color:var(--warn)}
.verdict.failed{border-color:var(--bad)}.verdict.failed h2{color:var(--bad)}
ul{margin:6px 0 0;padding-left:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;
margin:0 0 24px}
.tiles div,figure,section:not(.verdict):not(.plots){background:var(--card);border-radius:10px;
padding:14px 18px}
dt{color:var(--soft);font-size:13px}dd{margin:0;font-size:20px;font-weight:600;
font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));gap:16px;
margin-bottom:24px}figure{margin:0}svg{width:100%;height:auto;display:block}
.g{stroke:var(--line)}.l,.v{font-size:11px;fill:var(--soft)}.v{fill:var(--text);font-weight:600}
polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
.sa{stroke:var(--a)}.sb{stroke:var(--b)}.sc{stroke:var(--c)}.sd{stroke:var(--d)}
.fa{fill:var(--a)}.fb{fill:var(--b)}.fc{fill:var(--c)}.fd{fill:var(--d)}
.legend{margin:0;font-size:12px;color:var(--soft)}.legend span{margin-right:14px}
.legend span::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;
margin-right:6px;vertical-align:middle;background:var(--a)}
.legend .kb::before{background:var(--b)}.legend .kc::before{background:var(--c)}
.note{margin:6px 0 0;font-size:12px;color:var(--soft);overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:400;color:var(--soft);
width:230px}th,td{padding:6px 8px 6px 0;vertical-align:top;border-top:1px solid var(--line)}
tr:first-child>*{border-top:0}footer{margin-top:24px;color:var(--soft);font-size:13px}
@media print{body{background:#fff}figure,section,.tiles div{break-inside:avoid}}
"""
