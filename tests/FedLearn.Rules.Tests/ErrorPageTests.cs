using System.Reflection;
using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

public partial class ErrorPageTests
{
    private static (string Id, string Where)[] Ids { get; } =
    [
        .. from assembly in Repository.Assemblies
           from type in Assembly.LoadFrom(Repository.PathOf(assembly)).GetTypes()
           where type.Name.EndsWith("Errors", StringComparison.Ordinal)
           from field in type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
           where field.IsLiteral && field.FieldType == typeof(string) && IdText().IsMatch((string)field.GetRawConstantValue()!)
           select ((string)field.GetRawConstantValue()!, $"{type.FullName}.{field.Name}"),
    ];

    private static string Folder { get; } = Path.Combine(Repository.Root, "docs", "errors");

    private static string[] Pages { get; } = [.. Directory.GetFiles(Folder, "FL*.md").Select(page => Path.GetFileNameWithoutExtension(page)).Order(StringComparer.Ordinal)];

    [Fact]
    public void Ids_AllLayers_AreUnique() => Assert.Empty(Ids.GroupBy(id => id.Id).Where(same => same.Count() > 1).Select(same => string.Join(" = ", same)));

    [Fact]
    public void Ids_AllLayers_HaveAPage() => Assert.Empty(Ids.Where(id => !Pages.Contains(id.Id)).Select(id => $"{id.Id} ({id.Where}) has no page docs/errors/{id.Id}.md"));

    [Fact]
    public void Pages_All_HaveAnId() => Assert.Empty(Pages.Except(Ids.Select(id => id.Id)));

    [Fact]
    public void Pages_All_BeginWithTheirIdAndSayWhatToDo()
    {
        foreach (string page in Pages)
        {
            string text = File.ReadAllText(Path.Combine(Folder, page + ".md"));
            Assert.StartsWith($"# {page}: ", text, StringComparison.Ordinal);
            Assert.Contains("What happened", text, StringComparison.Ordinal);
            Assert.Contains("What to do", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Index_ListsEveryPage()
    {
        var text = new System.Text.StringBuilder(
            """
            # Errors

            The digit after `FL` is the exit code of the tool: 2 usage or configuration, 3 data, 4 peer or network, 5 privacy refused, 6 internal.

            | id | error |
            |---|---|

            """);
        foreach (string page in Pages)
            text.Append(null, $"| [{page}]({page}.md) | {File.ReadLines(Path.Combine(Folder, page + ".md")).First()[$"# {page}: ".Length..]} |\n");
        Repository.Matches(text.ToString(), "docs", "errors", "README.md");
    }

    // An id outside its Errors class would escape the rules above. The conformance kits only quote ids, to see them arrive.
    [Fact]
    public void Sources_OutsideErrorClasses_WriteNoIdAsText()
    {
        var found = from file in Repository.Sources("src")
                    where !file.EndsWith("Errors.cs", StringComparison.Ordinal) && !file.Contains("FedLearn.Testing", StringComparison.Ordinal)
                    from line in File.ReadLines(file)
                    where QuotedId().IsMatch(line)
                    select $"{Path.GetFileName(file)}: {line.Trim()}";
        Assert.Empty(found);
    }

    [GeneratedRegex(@"^FL[2-6]\d{3}$")]
    private static partial Regex IdText();

    [GeneratedRegex("\"FL[2-6][0-9]{3}\"")]
    private static partial Regex QuotedId();
}
