using FedLearn.Diagnostics;

namespace FedLearn.Tests.Diagnostics;

public class CountedTests
{
    [Theory]
    [InlineData(0, "epochs", "are")]
    [InlineData(1, "epoch", "is")]
    [InlineData(2, "epochs", "are")]
    public void Noun_OfANumber_IsThatOfIt(double number, string noun, string verb) =>
        Assert.Equal((noun, verb), (Counted.Noun(number, "epoch"), Counted.Noun(number, "is", "are")));
}
