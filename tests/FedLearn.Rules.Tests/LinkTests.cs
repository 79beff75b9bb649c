using System.Text;
using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

public partial class LinkTests
{
    private static string[] Pages { get; } = [.. Repository.Files().Where(file => file.EndsWith(".md", StringComparison.Ordinal))];

    [Fact]
    public void Pages_All_LinkToFilesAndAnchorsThatExist()
    {
        Assert.True(Pages.Length > 300, $"{Pages.Length} pages");
        Assert.Empty(Pages.SelectMany(page => Broken(page, File.ReadAllText(Path.Combine(Repository.Root, page)))));
    }

    // What messages, comments and help texts send their readers to.
    [Fact]
    public void Sources_All_NameDocumentsThatExist()
    {
        var broken = from file in Repository.Sources("src")
                     from line in File.ReadLines(file)
                     from Match name in DocumentName().Matches(line)
                     where !Exists(name.Value)
                     select $"{Path.GetFileName(file)}: {name.Value}";
        Assert.Empty(broken);
    }

    [Theory]
    [InlineData("[a](README.md) [b](docs) [c](docs/errors/FL2100.md#what-to-do) [d](https://example.org/x#y) [e](#here)\n# Here", 0)]
    [InlineData("[a](docs/absent.md)", 1)]
    [InlineData("[a](README.md#absent)", 1)]
    [InlineData("[a](#absent)\n```\n# Absent\n```", 1)]
    [InlineData("`[a](absent.md)` and\n```\n[b](absent.md)\n```\n\\[c](absent.md)", 0)]
    [InlineData("[a](#one-two--three_4) <a id=\"five\"></a> [b](#five) [c](#same-1)\n## One, two & `three_4`\n# Same\n# Same", 0)]
    public void Broken_Links_AreFound(string text, int broken) => Assert.Equal(broken, Broken("page.md", text).Count());

    /// <summary>Links of a page whose file, folder or anchor does not exist.</summary>
    private static IEnumerable<string> Broken(string page, string text)
    {
        foreach (Match link in Link().Matches(Code().Replace(Fence().Replace(text, ""), "")))
        {
            string target = link.Groups[1].Value;
            if (Elsewhere().IsMatch(target))
                continue;
            string[] parts = target.Split('#', 2);
            string path = Path.GetRelativePath(Repository.Root, Path.Combine(Repository.Root, Path.GetDirectoryName(page)!, parts[0]));
            bool found = parts[0].Length == 0 || Exists(path);
            if (found && parts is [_, { Length: > 0 } anchor])
                found = Anchors(parts[0].Length == 0 ? text : File.ReadAllText(Path.Combine(Repository.Root, path))).Contains(anchor);
            if (!found)
                yield return $"{page}: {target}";
        }
    }

    private static bool Exists(string path) => Path.Exists(Path.Combine(Repository.Root, path));

    /// <summary>Anchors as GitHub makes them of headings, and those that a page names itself.</summary>
    private static HashSet<string> Anchors(string text)
    {
        HashSet<string> anchors = [];
        text = Fence().Replace(text, "");
        foreach (Match heading in Heading().Matches(text))
        {
            string slug = Slug(Link().Replace(heading.Groups[1].Value, match => match.Value[1..match.Value.IndexOf(']', StringComparison.Ordinal)]));
            string name = slug;
            for (int i = 1; !anchors.Add(name); i++)
                name = $"{slug}-{i}";
        }

        foreach (Match named in Named().Matches(text))
            anchors.Add(named.Groups[1].Value);
        return anchors;
    }

    private static string Slug(string heading)
    {
        var slug = new StringBuilder();
        foreach (Rune rune in heading.Trim().EnumerateRunes())
        {
            if (Rune.IsLetterOrDigit(rune) || rune.Value is '-' or '_')
                slug.Append(Rune.ToLowerInvariant(rune).ToString());
            else if (rune.Value == ' ')
                slug.Append('-');
        }

        return slug.ToString();
    }

    [GeneratedRegex(@"(?<!\\)\[[^\]\n]*(?:\n[^\]\n]+)?\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^[a-z][a-z+.-]*:", RegexOptions.IgnoreCase)]
    private static partial Regex Elsewhere();

    [GeneratedRegex(@"^[ \t]*```.*?^[ \t]*```[ \t]*$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Fence();

    [GeneratedRegex(@"(`+)(?!`)(?:[^`\n]|\n(?!\n))+?\1(?!`)")]
    private static partial Regex Code();

    [GeneratedRegex(@"^#{1,6} +(.+?)[ \t\r]*$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"<a id=""([^""]+)""")]
    private static partial Regex Named();

    [GeneratedRegex(@"\b(?:docs|benchmarks|samples)/(?!errors/FLnnnn)[\w./-]+\.md\b")]
    private static partial Regex DocumentName();
}
