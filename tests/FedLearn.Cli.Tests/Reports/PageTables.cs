using System.Net;
using System.Text.RegularExpressions;

namespace FedLearn.Cli.Tests.Reports;

/// <summary>What a page says in its tables, tiles and lists, as a reader without scripts has it.</summary>
internal static partial class PageTables
{
    /// <summary>The first table of a name: its heads, then its rows, a bar between cells.</summary>
    public static string[] Table(string page, string name) => Tables(page, name)[0];

    /// <summary>All tables of a name.</summary>
    public static string[][] Tables(string page, string name) => [.. Regex.Matches(page, $"aria-label=\"{Regex.Escape(WebUtility.HtmlEncode(name))}\"><table[^>]*>(.*?)</table>", RegexOptions.Singleline)
        .Select(table => (string[])[.. Row().Matches(table.Groups[1].Value).Select(row => string.Join(" | ", Cell().Matches(row.Groups[1].Value).Select(cell => Text(cell.Groups[1].Value))).Trim())])];

    /// <summary>Terms and tiles: what they are called, their value and what stands below it.</summary>
    public static string[] Tiles(string page) => [.. Tile().Matches(page).Select(tile => string.Join(" | ", tile.Groups.Values.Skip(1).Select(part => Text(part.Value))).Trim())];

    /// <summary>Terms and what they are.</summary>
    public static string[] Terms(string page) => [.. Term().Matches(page).Select(term => $"{Text(term.Groups[1].Value)}: {Text(term.Groups[2].Value)}")];

    /// <summary>Names of the charts, and how many bars each has.</summary>
    public static string[] Charts(string page) => [.. Chart().Matches(page).Select(chart => chart.Groups[1].Value + (chart.Groups[2].Success ? $" {chart.Groups[2].Value}" : ""))];

    /// <summary>Markup as a reader has it: without scripts, the reports that they draw, and styles.</summary>
    public static string Text(string markup) => Spaces().Replace(WebUtility.HtmlDecode(Tag().Replace(Script().Replace(markup, " "), " ")), " ").Trim();

    [GeneratedRegex("<tr>(.*?)</tr>", RegexOptions.Singleline)]
    private static partial Regex Row();

    [GeneratedRegex("<t[hd][^>]*>(.*?)</t[hd]>", RegexOptions.Singleline)]
    private static partial Regex Cell();

    [GeneratedRegex("<div><span>(.*?)</span><b>(.*?)</b><small>(.*?)</small></div>")]
    private static partial Regex Tile();

    [GeneratedRegex("<dt>(.*?)</dt><dd>(.*?)</dd>")]
    private static partial Regex Term();

    [GeneratedRegex("<figure data-chart=\"([^\"]*)\" data-report=\"[0-9]*\"(?: data-rows=\"([0-9]*)\")?")]
    private static partial Regex Chart();

    [GeneratedRegex("<(script|style)[^>]*>.*?</\\1>", RegexOptions.Singleline)]
    private static partial Regex Script();

    [GeneratedRegex("<[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
