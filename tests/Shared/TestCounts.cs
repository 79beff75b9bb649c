namespace FedLearn.Tests.Shared;

/// <summary>The one place that decides how many cases the random tests run.</summary>
internal static class TestCounts
{
    /// <summary>1, or 10 when the environment variable FEDLEARN_FULL is 1.</summary>
    public static int Scale { get; } = Environment.GetEnvironmentVariable("FEDLEARN_FULL") == "1" ? 10 : 1;

    /// <summary>A count of the fast tier, scaled.</summary>
    public static int Of(int fast) => fast * Scale;
}
