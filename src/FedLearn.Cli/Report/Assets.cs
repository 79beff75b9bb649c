using System.Security.Cryptography;
using System.Text;

namespace FedLearn.Cli.Report;

/// <summary>The style and the scripts of the page, from the files beside this one.</summary>
internal static class Assets
{
    /// <summary>Style of the page.</summary>
    public static string Style { get; } = Read("report.css");

    /// <summary>The charting library under its licence, which asks to stand in every copy. The last line names a source map, which is not shipped.</summary>
    public static string Library { get; } = $"/*\n{Read("chart.LICENSE.md")}*/\n" + WithoutSourceMap(Read("chart.umd.min.js"));

    /// <summary>The script that draws the charts.</summary>
    public static string Script { get; } = Read("report.js");

    /// <summary>What the page may do: run these two scripts, apply this style, and load nothing.</summary>
    public static string Policy { get; } =
        $"default-src 'none'; script-src {Hash(Library)} {Hash(Script)}; style-src {Hash(Style)}; base-uri 'none'; form-action 'none'";

    private static string Hash(string text) => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}'";

    private static string WithoutSourceMap(string script)
    {
        int map = script.LastIndexOf("//# sourceMappingURL=", StringComparison.Ordinal);
        return map < 0 ? script : script[..map];
    }

    // Line ends as a browser reads them, so that the hashes hold in a checkout that turns them into CR LF.
    private static string Read(string name)
    {
        using var reader = new StreamReader(typeof(Assets).Assembly.GetManifestResourceStream($"Report/{name}")
            ?? throw new InvalidOperationException($"The assembly lacks {name}."));
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
