using System.Text.RegularExpressions;

namespace FedLearn.Rules.Tests;

public partial class SourceTests
{
    [Fact]
    public void Readme_CSharpBlocks_Compile()
    {
        string readme = Path.Combine(Repository.Root, "README.md");
        string[] blocks = File.Exists(readme) ? [.. CSharpBlock().Matches(File.ReadAllText(readme)).Select(match => match.Groups[1].Value)] : [];
        if (blocks.Length == 0)
            Assert.Skip("README.md has no C# blocks.");
        Assert.All(blocks, block => Assert.Empty(Compiler.Errors(block, "exe")));
    }

    [Fact]
    public void Tests_NoSleepAndNoSkippedTest()
    {
        var found = from file in Repository.Sources("tests")
                    where Path.GetFileName(file) != "SourceTests.cs"
                    from line in File.ReadLines(file)
                    where SleepOrSkip().IsMatch(line)
                    select $"{Path.GetFileName(file)}: {line.Trim()}";
        Assert.Empty(found);
    }

    [Theory]
    [InlineData("[Fact(Skip = \"later\")]", true)]
    [InlineData("[Theory(DisplayName = \"x\", Skip = \"later\")]", true)]
    [InlineData("Thread.Sleep(10);", true)]
    [InlineData("await Task.Delay(10);", true)]
    [InlineData("Assert.Skip(\"data is absent\");", false)]
    [InlineData("rows.Skip(1)", false)]
    public void SleepOrSkip_Line_IsFoundOrNot(string line, bool expected) => Assert.Equal(expected, SleepOrSkip().IsMatch(line));

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    [GeneratedRegex(@"Thread\.Sleep|Task\.Delay|\[(Fact|Theory)\(.*\bSkip\s*=")]
    private static partial Regex SleepOrSkip();
}
