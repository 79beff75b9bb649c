using FedLearn.Cli.Serving;

namespace FedLearn.Cli.Tests.Serving;

public class OpenFilesTests
{
    private static string Limits(string soft) => $"""
        Limit                     Soft Limit           Hard Limit           Units
        Max processes             63000                63000                processes
        Max open files            {soft}                 524288               files
        Max locked memory         67108864             67108864             bytes

        """;

    [Theory]
    [InlineData("16383", true)]
    [InlineData("16384", false)]
    [InlineData("unlimited", false)]
    public void Shortage_LimitAndQuota_SaysWhatIsNeededWhereItIsNotEnough(string limit, bool isShort)
    {
        string? said = OpenFiles.Shortage(8192, Limits(limit));
        Assert.Equal(isShort, said is not null);
        if (isShort)
            Assert.Matches("may open 16383 files .*allConnections of 8192 may take 16384.*LimitNOFILE.*at most 8191$", said);
    }

    [Fact]
    public void Shortage_LimitIsNotKnown_SaysNothing() => Assert.Null(OpenFiles.Shortage(8192, ""));

    [Fact]
    public void Shortage_OfThisProcess_IsRead() => Assert.Equal((null, OperatingSystem.IsLinux()), (OpenFiles.Shortage(1), OpenFiles.Shortage(int.MaxValue) is not null));
}
