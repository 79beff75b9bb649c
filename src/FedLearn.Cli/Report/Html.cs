using System.Globalization;
using System.Net;
using System.Text;

namespace FedLearn.Cli.Report;

/// <summary>A cell of a table: markup that is safe to write, and whether it is read as a number.</summary>
/// <param name="Markup">HTML.</param>
/// <param name="IsNumber">Whether the cell is aligned as a number.</param>
internal readonly record struct Cell(string Markup, bool IsNumber)
{
    /// <summary>A cell of text.</summary>
    public static Cell Text(string text) => new(Html.Text(text), false);

    /// <summary>A cell that is read as a number.</summary>
    public static Cell Number(string text) => new(Html.Text(text), true);

    /// <summary>A value and, smaller, the interval it lies in.</summary>
    public static Cell Interval(string value, string? interval) => new(Html.Text(value) + (interval is null ? "" : $"<small>{Html.Text(interval)}</small>"), true);
}

/// <summary>The parts that pages are made of. Every text is encoded here and nowhere else.</summary>
internal static class Html
{
    /// <summary>Text as markup.</summary>
    /// <exception cref="InvalidOperationException">A report lacks a text that every report has: casts of absent JSON nodes give null.</exception>
    public static string Text(string text) => WebUtility.HtmlEncode(text ?? throw new InvalidOperationException("A text is absent."));

    /// <summary>A paragraph.</summary>
    /// <param name="text">Its text.</param>
    /// <param name="style">Class; null for none.</param>
    public static string Paragraph(string text, string? style = null) => $"<p{Class(style)}>{Text(text)}</p>\n";

    /// <summary>A table in a box of its own, which scrolls where the page is narrower than the table.</summary>
    /// <param name="name">What the table shows, for readers that are read to.</param>
    /// <param name="header">Column heads.</param>
    /// <param name="rows">Cells.</param>
    /// <param name="style">Class of the table; null for none.</param>
    public static string Table(string name, IReadOnlyList<string> header, IEnumerable<IReadOnlyList<Cell>> rows, string? style = null)
    {
        IReadOnlyList<Cell>[] body = [.. rows];
        var table = new StringBuilder();
        table.Append(CultureInfo.InvariantCulture, $"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{Text(name)}\"><table{Class(style)}><thead><tr>");
        for (int i = 0; i < header.Count; i++)
            table.Append(CultureInfo.InvariantCulture, $"<th scope=\"col\"{Class(body.Length > 0 && i < body[0].Count && body[0][i].IsNumber ? "n" : null)}>{Text(header[i])}</th>");
        table.Append("</tr></thead><tbody>\n");
        foreach (IReadOnlyList<Cell> row in body)
        {
            table.Append("<tr>");
            foreach (Cell cell in row)
                table.Append(CultureInfo.InvariantCulture, $"<td{Class(cell.IsNumber ? "n" : null)}>{cell.Markup}</td>");
            table.Append("</tr>\n");
        }

        return table.Append("</tbody></table></div>\n").ToString();
    }

    /// <summary>A list; nothing where there are no items.</summary>
    /// <param name="head">Its head.</param>
    /// <param name="items">Items, and who says them; empty for everybody.</param>
    /// <param name="style">Class of the list; null for none.</param>
    public static string List(string head, IEnumerable<(string By, string Text)> items, string? style = null)
    {
        string lines = string.Concat(items.Select(item => $"<li>{(item.By.Length == 0 ? "" : $"<b>{Text(item.By)}</b> ")}{Text(item.Text)}</li>\n"));
        return lines.Length == 0 ? "" : $"<h4>{Text(head)}</h4>\n<ul{Class(style)}>\n{lines}</ul>\n";
    }

    /// <summary>Terms and what they are; nothing where there are none.</summary>
    public static string Terms(IEnumerable<(string Term, string Value)> terms)
    {
        string lines = string.Concat(terms.Select(t => $"<div><dt>{Text(t.Term)}</dt><dd>{Text(t.Value)}</dd></div>\n"));
        return lines.Length == 0 ? "" : $"<dl>\n{lines}</dl>\n";
    }

    /// <summary>A place for a chart, which report.js draws, with the figures it shows.</summary>
    /// <param name="chart">Name of the chart in report.js.</param>
    /// <param name="report">Index of the report it draws.</param>
    /// <param name="caption">What it shows.</param>
    /// <param name="figures">The same figures as tables: what a reader without scripts has.</param>
    /// <param name="note">How to read it; null for nothing.</param>
    /// <param name="rows">Bars that stand below each other, which make the chart as high as it has to be; 0 for a chart of the usual height.</param>
    /// <param name="metric">Metric that the chart shows; null where the chart says so itself.</param>
    public static string Chart(string chart, int report, string caption, string figures, string? note = null, int rows = 0, string? metric = null) =>
        $"<figure data-chart=\"{chart}\" data-report=\"{report}\"{(rows > 0 ? $" data-rows=\"{rows}\"" : "")}{(metric is null ? "" : $" data-metric=\"{Text(metric)}\"")}><figcaption>{Text(caption)}{(note is null ? "" : $"<small>{Text(note)}</small>")}</figcaption>\n"
        + $"<div class=\"plot\"><canvas role=\"img\" aria-label=\"{Text(caption)}; the figures stand below\"></canvas></div>\n"
        + $"<details><summary>Figures</summary>\n{figures}</details></figure>\n";

    private static string Class(string? name) => name is null ? "" : $" class=\"{name}\"";
}
