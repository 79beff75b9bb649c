using FedLearn.Privacy;

namespace FedLearn.Statistical.Tests;

/// <summary>Frequencies of randomised labels, with the system's random bits. False-alarm rate 1e-9 a test.</summary>
public class RandomizedResponseTests
{
    private const double FalseAlarm = 1e-9;
    private const int Draws = 400_000;

    [Theory]
    [InlineData(1, 2)]
    [InlineData(0.1, 2)]
    [InlineData(2, 5)]
    public void Randomize_EveryLabel_HasTheProbabilities(double epsilon, int classes)
    {
        var response = new RandomizedResponse(epsilon, classes);
        for (byte label = 0; label < classes; label++)
        {
            long[] counts = Counts(response, label, classes);
            double[] expected = [.. Enumerable.Range(0, classes).Select(m => m == label ? response.KeepProbability : response.OtherProbability)];
            Assert.InRange(Statistics.ChiSquare(counts, expected), 0, Statistics.ChiSquareCritical(classes, FalseAlarm / classes));
        }
    }

    [Fact]
    public void ChiSquare_ProbabilitiesThreePercentOff_AreFound()
    {
        // Power: three percent of the flip probability are 18 deviations of 400,000 draws, and the critical value is six.
        var response = new RandomizedResponse(.1);
        long[] counts = Counts(response, 1, 2);
        double q = response.OtherProbability * 1.03;
        Assert.True(Statistics.ChiSquare(counts, [q, 1 - q]) > Statistics.ChiSquareCritical(2, FalseAlarm));
    }

    private static long[] Counts(RandomizedResponse response, byte label, int classes)
    {
        byte[] labels = new byte[Draws];
        labels.AsSpan().Fill(label);
        long[] counts = new long[classes];
        foreach (byte drawn in response.Randomize(labels, new CsprngUniform()))
            counts[drawn]++;
        return counts;
    }
}
