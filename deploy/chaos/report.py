"""The report, for people. For programs it is JSON with the same content."""

# Violations shown of each check; the JSON has all.
SHOWN_MAX = 5


def table(report):
    figures = report["figures"]
    lines = [
        "",
        f"{report['servers']} broker(s), two of each service, {report['faultSeconds']:.0f} s of faults, "
        f"seed {report['seed']}, network: {report['network']}",
        "",
    ]

    def row(name, value, note=""):
        lines.append(f"  {name:<37} {value:>9}  {note}".rstrip())

    def counted(counts):
        return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"

    row("submitted (acknowledged)", figures["submitted"])
    row("in the log", figures["stored"],
        f"{figures['storedUnacknowledged']} of them whose clients had no answer")  # fmt: skip
    for status, count in sorted(figures["finished"].items()):
        row(f"  {status}", count)
    row("failed or refused because of", "", counted(figures["failureCodes"]))
    row("events", figures["events"])
    row("faults", sum(figures["faults"].values()), counted(figures["faults"]))
    row("ended by themselves", report["endedByThemselves"], "processes without a broker, mostly: started again")
    row("everything ended after", f"{report['quietSeconds']:.0f} s", "since the last fault")
    lines.append("")
    row("effects: keys called", figures["keys"])
    for count, keys in figures["keysByDispatches"].items():
        row(f"  {count} time(s)", keys)
    row("calls beyond one per key", sum(figures["dispatchesBeyondOne"].values()),
        counted(figures["dispatchesBeyondOne"]))  # fmt: skip
    row("calls that came after a takeover", figures["dispatchesAfterTakeover"])
    row("calls whose worker died first", figures["answersCutOff"])
    row("takeovers", figures["takeovers"], counted(figures["takeoversByFault"]))
    row("  from an owner that nothing hindered", figures["takeoversFromUnhindered"])
    lines += ["", "  time to a takeover    since the start  since a death  (others unhindered)  since a pause"]
    columns = ("SinceStart", "SinceDeath", "SinceDeathUndisturbed", "SincePause")
    for bucket in figures["takeoverSinceStart"]:
        start, death, undisturbed, pause = (figures["takeover" + column][bucket] for column in columns)
        lines.append(f"    {bucket:<15} {start:>18} {death:>14} {undisturbed:>21} {pause:>14}")
    lines.append("")
    for name, violations in report["checks"].items():
        lines.append(f"  {'holds' if not violations else 'BROKEN':<7} {name.replace('_', ' ')}")
        lines += [f"          {violation}" for violation in violations[:SHOWN_MAX]]
        if len(violations) > SHOWN_MAX:
            lines.append(f"          and {len(violations) - SHOWN_MAX} more")
    lines += [f"  cannot  {name}: {reason}" for name, reason in report["impossible"].items()]
    return "\n".join(lines)
