using FedLearn.Coordination;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Coordination;

public sealed class StateSectionsTests
{
    private const string Kind = "test 1";

    [Theory]
    [InlineData(int.MaxValue, true)]
    [InlineData(int.MinValue, true)]
    [InlineData(int.MaxValue + 1L, false)]
    [InlineData(int.MinValue - 1L, false)]
    [InlineData(1L << 32, false)]
    public void Integer32_NumberBeyondItsRange_IsDamage(long number, bool within)
    {
        var state = new StateReader(Kind, new StateWriter(Kind).Add("number", number).ToArray(), "test");
        Assert.Equal(number, state.Integer("number"));
        if (within)
            Assert.Equal(number, state.Integer32("number"));
        else
            Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(() => state.Integer32("number")).Id);
    }

    /// <summary>Every length in it says how many bytes follow: where they do not, the state is damaged.</summary>
    [Fact]
    public void Read_LengthBeyondTheEnd_IsDamage()
    {
        byte[] state = new StateWriter(Kind).Add("numbers", [1.0, 2.0]).ToArray();
        _ = new StateReader(Kind, state, "test");
        // Cut off anywhere but between two parts, which the first, of no bytes, ends 4 + 6 + 4 bytes in.
        for (int length = 1; length < state.Length; length++)
            if (length != 4 + Kind.Length + 4)
                Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(() => new StateReader(Kind, state.AsMemory(0, length), "test")).Id);
        foreach (int wrong in new[] { -1, int.MinValue, int.MaxValue, state.Length })
        {
            byte[] damaged = [.. BitConverter.GetBytes(wrong), .. state[4..]];
            Assert.Equal(RunStateErrors.Unusable, Assert.Throws<ConfigurationException>(() => new StateReader(Kind, damaged, "test")).Id);
        }
    }
}
